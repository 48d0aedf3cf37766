"""Turns a plant's sensor streams into maintenance alarms on the gateway itself."""

__version__ = "0.1.0"
