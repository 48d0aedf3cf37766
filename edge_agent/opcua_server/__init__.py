"""The daemon's own OPC UA server: assets as variables, alarms as conditions of OPC 10000-9.

`server` is imported by name, if the config enables it.
"""

__all__ = ["server"]
