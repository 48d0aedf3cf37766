"""Models of a user's own CSV files."""
