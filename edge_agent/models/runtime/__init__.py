"""What loads and runs a model."""
