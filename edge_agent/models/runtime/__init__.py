"""Loading and running of models."""
