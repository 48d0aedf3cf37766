"""Engines that run models, and the process that decodes pictures, which few gateways need."""

# Not imported here: a daemon without cameras does not load them.
__all__ = ["picture_child", "picture_decode", "picture_engine", "picture_process"]
