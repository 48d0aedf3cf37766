"""Nodes that are made when a client asks for them.

A condition has some fifty nodes. As objects of the library, ten thousand conditions would take more
than a gigabyte; here they take what their fields take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from asyncua import ua
from asyncua.server.address_space import AttributeValue, NodeData
from asyncua.ua.attribute_ids import AttributeIds
from asyncua.ua.object_ids import ObjectIds

from edge_agent.opcua_server.ua_types import number_node, text_node

if TYPE_CHECKING:
    from collections.abc import Mapping

_T: Final = ua.VariantType
READ: Final = 1  # of AccessLevel
SUBSCRIBE: Final = 1  # of EventNotifier
_SCALAR: Final = -1
Callbacks = dict[int, Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Made:
    """One of our nodes.

    name: its browse name; data_type: of a variable, with its value; children: reference type and
    node of each; parent: reference type and node. notifies: clients can subscribe to its events.
    """

    ident: str
    name: str
    type_id: int
    parent: tuple[int, ua.NodeId]
    children: tuple[tuple[int, ua.NodeId], ...] = ()
    value: ua.DataValue | None = None
    data_type: int = 0
    notifies: bool = False
    in_base: bool = False  # the browse name is one of OPC 10000


@dataclass(slots=True)
class MadeNodes(MutableMapping[ua.NodeId, NodeData]):
    """The address space: the standard's nodes, and ours, which `find` makes.

    watched: by our node, what the library calls when the value changes.
    """

    standard: dict[ua.NodeId, NodeData]
    index: int
    find: Callable[[str], Made | None]
    watched: dict[str, Callbacks] = field(default_factory=dict)

    def __getitem__(self, nodeid: ua.NodeId) -> NodeData:
        """The node; KeyError if there is none."""
        found = self.standard.get(nodeid)
        if found is not None:
            return found
        made = self._find(nodeid)
        if made is None:
            raise KeyError(nodeid)
        return self._node(made)

    def __setitem__(self, nodeid: ua.NodeId, node: NodeData) -> None:
        """Add a node of the standard."""
        self.standard[nodeid] = node

    def __delitem__(self, nodeid: ua.NodeId) -> None:
        """Delete a node of the standard."""
        del self.standard[nodeid]

    def __contains__(self, nodeid: object) -> bool:
        """True if there is such a node."""
        return nodeid in self.standard or self._find(nodeid) is not None

    def __iter__(self) -> Iterator[ua.NodeId]:
        """The nodes of the standard: ours are not counted."""
        return iter(self.standard)

    def __len__(self) -> int:
        """How many nodes the standard has."""
        return len(self.standard)

    def link(self, number: int, reference: int, target: ua.NodeId) -> None:
        """Let a node of the standard refer to one of ours."""
        node = self.standard[number_node(number)]
        node.references.append(self._reference(reference, target, forward=True))

    def _find(self, nodeid: object) -> Made | None:
        if not isinstance(nodeid, ua.NodeId) or nodeid.NamespaceIndex != self.index:
            return None
        return self.find(nodeid.Identifier) if isinstance(nodeid.Identifier, str) else None

    def _node(self, made: Made) -> NodeData:
        node = NodeData(self.nodeid(made.ident))
        node.attributes = self._attributes(made)
        node.references = [self._reference(*made.parent, forward=False)]
        node.references += [self._reference(*one, forward=True) for one in made.children]
        type_id = number_node(made.type_id)
        node.references.append(self._reference(ObjectIds.HasTypeDefinition, type_id, forward=True))
        return node

    def nodeid(self, ident: str) -> ua.NodeId:
        """The id of one of our nodes."""
        return text_node(ident, self.index)

    def _attributes(self, made: Made) -> dict[AttributeIds, AttributeValue]:
        a = AttributeIds
        values: dict[AttributeIds, tuple[Any, ua.VariantType]] = {
            a.NodeId: (self.nodeid(made.ident), _T.NodeId),
            a.NodeClass: (self._class(made), _T.Int32),
            a.BrowseName: (self._browse_name(made), _T.QualifiedName),
            a.DisplayName: (ua.LocalizedText(made.name), _T.LocalizedText),
            a.WriteMask: (0, _T.UInt32),
            a.UserWriteMask: (0, _T.UInt32),
        }
        if made.value is None:
            values[a.EventNotifier] = (SUBSCRIBE * made.notifies, _T.Byte)
            return {key: _attribute(*value) for key, value in values.items()}
        values |= {
            a.DataType: (number_node(made.data_type), _T.NodeId),
            a.ValueRank: (_SCALAR, _T.Int32),
            a.AccessLevel: (READ, _T.Byte),
            a.UserAccessLevel: (READ, _T.Byte),
            a.MinimumSamplingInterval: (0.0, _T.Double),
            a.Historizing: (False, _T.Boolean),
        }
        found = {key: _attribute(*value) for key, value in values.items()}
        found[a.Value] = AttributeValue(made.value)
        found[a.Value].datachange_callbacks = _Watchers(self.watched, made.ident)
        return found

    def _class(self, made: Made) -> ua.NodeClass:
        return ua.NodeClass.Object if made.value is None else ua.NodeClass.Variable

    def _browse_name(self, made: Made) -> ua.QualifiedName:
        return ua.QualifiedName(made.name, 0 if made.in_base else self.index)

    def _reference(
        self, type_id: int, target: ua.NodeId, *, forward: bool
    ) -> ua.ReferenceDescription:
        made = self._find(target)
        reference = ua.ReferenceDescription()
        reference.ReferenceTypeId = number_node(type_id)
        reference.IsForward = forward
        reference.NodeId = target
        if made is not None:
            reference.BrowseName = self._browse_name(made)
            reference.DisplayName = ua.LocalizedText(made.name)
            reference.NodeClass = self._class(made)
            reference.TypeDefinition = number_node(made.type_id)
            return reference
        attributes = self.standard[target].attributes
        reference.BrowseName = _value(attributes, AttributeIds.BrowseName)
        reference.DisplayName = _value(attributes, AttributeIds.DisplayName)
        reference.NodeClass = ua.NodeClass(_value(attributes, AttributeIds.NodeClass))
        return reference


class _Watchers(dict[int, Callable[..., Any]]):
    """The watchers of one of our nodes: they stay when the node, made for one request, goes."""

    def __init__(self, watched: dict[str, Callbacks], ident: str) -> None:
        super().__init__(watched.get(ident, {}))
        self._watched = watched
        self._ident = ident

    def __setitem__(self, handle: int, callback: Callable[..., Any]) -> None:
        super().__setitem__(handle, callback)
        self._watched.setdefault(self._ident, {})[handle] = callback

    def pop(self, handle: int, *default: Any) -> Any:  # noqa: ANN401
        kept = self._watched.get(self._ident, {})
        kept.pop(handle, None)
        if not kept:
            self._watched.pop(self._ident, None)
        return super().pop(handle, *default)


def _attribute(value: Any, kind: ua.VariantType) -> AttributeValue:  # noqa: ANN401
    return AttributeValue(ua.DataValue(ua.Variant(value, kind)))


def _value(attributes: Mapping[AttributeIds, AttributeValue], attribute: AttributeIds) -> Any:  # noqa: ANN401
    found = attributes[attribute].value
    return None if found is None or found.Value is None else found.Value.Value
