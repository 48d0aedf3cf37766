"""Source `opcua`: subscribes to the nodes of one OPC UA server, whatever becomes of it."""

from edge_agent.sources.opcua._source import (
    OpcUaSource,
    OpcUaSourceConfig,
    Security,
    SecurityMode,
    SecurityPolicy,
    inspect,
    probe,
)

__all__ = [
    "OpcUaSource",
    "OpcUaSourceConfig",
    "Security",
    "SecurityMode",
    "SecurityPolicy",
    "inspect",
    "probe",
]
