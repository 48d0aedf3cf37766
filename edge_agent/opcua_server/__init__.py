"""The daemon's own OPC UA server: assets as variables, alarms as conditions of OPC 10000-9.

`OpcUaServer` is imported by name from `opcua_server.server`, if the config enables it.
"""
