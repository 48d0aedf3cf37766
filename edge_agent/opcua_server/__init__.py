"""The daemon's own OPC UA server: assets as variables, alarms as conditions of OPC 10000-9.

Its modules are imported by name, if the config enables it.
"""

__all__ = ["server", "users"]
