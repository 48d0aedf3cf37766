"""Source `opcua`: subscribes to the nodes of one OPC UA server and recovers from any failure."""

from edge_agent.sources.opcua import trust
from edge_agent.sources.opcua.config import (
    OpcUaSourceConfig,
    Security,
    SecurityMode,
    SecurityPolicy,
)
from edge_agent.sources.opcua.found import Browsed, FoundNode
from edge_agent.sources.opcua.proposals import Proposal, propose
from edge_agent.sources.opcua.source import OpcUaSource, browse, inspect, pin, probe

__all__ = [
    "Browsed",
    "FoundNode",
    "OpcUaSource",
    "OpcUaSourceConfig",
    "Proposal",
    "Security",
    "SecurityMode",
    "SecurityPolicy",
    "browse",
    "inspect",
    "pin",
    "probe",
    "propose",
    "trust",
]
