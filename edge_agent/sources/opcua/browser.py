"""Browses the address space of a server from its Objects folder. Reads only."""

from __future__ import annotations

import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes
from asyncua.ua.uaerrors import UaStatusCodeError

from edge_agent.sources.opcua.connector import connect
from edge_agent.sources.opcua.describe import RANGE, UNITS, Walked, address_form, describe
from edge_agent.sources.opcua.explain import explained
from edge_agent.sources.opcua.found import Browsed
from edge_agent.sources.opcua.read import TOO_LARGE, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.sources.opcua.config import OpcUaSourceConfig
    from edge_agent.sources.opcua.connector import Connection

MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 24
_MAX_BATCH: Final = 100
_MAX_REFERENCES: Final = 1000  # in one answer; the others follow by continuation points
_HAS_PROPERTY: Final = ObjectIds.HasProperty
_CLASSES: Final = ua.NodeClass.Object | ua.NodeClass.Variable
_ALL_FIELDS: Final = 0x3F  # of a reference
# Nodes that every server has: diagnostics, aliases, locations, quantities.
_NOT_THE_PLANT: Final = frozenset({ObjectIds.Server, 23470, 31915, 32530})


async def browse_server(  # noqa: PLR0913 (its limits, and a callback)
    config: OpcUaSourceConfig,
    name: str,
    pattern: str,
    *,
    seconds: float,
    everything: bool,
    most: int | None,
    progress: Callable[[int], None],
) -> Browsed:
    """The variables whose path or address matches `pattern`, with value, type, unit and range.

    Bounded by MAX_NODES, MAX_DEPTH and `seconds`; `Browsed.stopped` is the limit that ended it.
    most: of the matching variables that are read; None: all. ConnectError if there is no session.
    """
    connection = await connect(config, name)
    try:
        walk = _Walk(connection, time.monotonic() + seconds, progress, everything=everything)
        facts = await walk.reader.facts()
        with explained("browsing", connection.where):
            await walk.run(facts["browse"], _prefix(pattern))
        wanted = [one for one in walk.found if _fits(pattern, one, connection.namespaces)]
        if most is not None and len(wanted) > most:
            wanted = wanted[:most]
            walk.stopped = f"after {most} variables"
        with explained("reading nodes", connection.where):
            nodes = await describe(walk.reader, wanted, connection.namespaces)
    finally:
        await connection.close()
    product = facts["product"]
    return Browsed(nodes, list(connection.namespaces), walk.seen, walk.stopped, str(product or ""))


class _Walk:
    """Walks breadth first, many nodes per request, each node once."""

    def __init__(
        self,
        connection: Connection,
        until_s: float,
        progress: Callable[[int], None],
        *,
        everything: bool,
    ) -> None:
        self.reader = Reader(connection)
        self.found: list[Walked] = []
        self.stopped = ""
        self.seen = 0
        self._session = connection.client.uaclient.session
        self._namespaces = connection.namespaces
        self._until_s = until_s
        self._progress = progress
        self._everything = everything
        self._known: set[ua.NodeId] = set()
        self._batch = _MAX_BATCH

    async def run(self, limit: object, prefix: str) -> None:
        """Fill `found` with variables."""
        if isinstance(limit, int) and limit > 0:
            self._batch = min(_MAX_BATCH, limit)
        root = Walked(ua.NodeId(ua.Int32(ObjectIds.ObjectsFolder)), (), is_variable=False)
        self._known.add(root.node)
        level = [root]
        while level and not self.stopped:
            below: list[Walked] = []
            for start in range(0, len(level), self._batch):
                batch = level[start : start + self._batch]
                for parent, references in zip(batch, await self._browse(batch), strict=True):
                    below += self._children(parent, references, prefix)
                self._progress(self.seen)
                if self._is_over():
                    break
            level = below
            if level and len(level[0].path) > MAX_DEPTH:
                self.stopped = f"deeper than {MAX_DEPTH} levels"

    def _is_over(self) -> bool:
        if self.seen >= MAX_NODES:
            self.stopped = f"after {MAX_NODES} nodes"
        elif time.monotonic() > self._until_s:
            self.stopped = "out of time"
        return bool(self.stopped)

    def _children(
        self, parent: Walked, references: list[ua.ReferenceDescription], prefix: str
    ) -> list[Walked]:
        children = []
        for reference in references:
            child = self._child(parent, reference)
            if child is None or child.node in self._known:
                continue
            self._known.add(child.node)
            self.seen += 1
            text = "/".join(child.path)
            if prefix and not (prefix.startswith(f"{text}/") or text.startswith(prefix)):
                continue
            children.append(child)
            if child.is_variable:
                self.found.append(child)
        return children

    def _child(self, parent: Walked, reference: ua.ReferenceDescription) -> Walked | None:
        """The target of a reference; None if it is not wanted here."""
        node = self._local(reference.NodeId)
        if node is None:
            return None
        name = reference.BrowseName.Name or reference.DisplayName.Text or ""
        is_property = _number(reference.ReferenceTypeId) == _HAS_PROPERTY
        if is_property and parent.is_variable and name in {RANGE, UNITS}:
            parent.properties[name] = node
        if not self._everything and (is_property or _number(node) in _NOT_THE_PLANT):
            return None
        is_variable = reference.NodeClass == ua.NodeClass.Variable
        kind = self._local(reference.TypeDefinition) if not is_variable else parent.type
        return Walked(node, (*parent.path, name), is_variable, kind)

    def _local(self, node: ua.NodeId) -> ua.NodeId | None:
        """A node id of this server as a plain one; None if another server has the node."""
        if getattr(node, "ServerIndex", 0):
            return None
        uri, index = getattr(node, "NamespaceUri", None), int(node.NamespaceIndex)
        if uri:
            if uri not in self._namespaces:
                return None
            index = self._namespaces.index(uri)
        return ua.NodeId(node.Identifier, ua.Int16(index), _plain_type(node))

    # -- requests ------------------------------------------------------------------------------

    async def _browse(self, batch: Sequence[Walked]) -> list[list[ua.ReferenceDescription]]:
        """The references of each node; sends fewer nodes per request if the server requires it."""
        try:
            results = await self._request(batch)
        except UaStatusCodeError as error:
            if error.code not in TOO_LARGE or len(batch) == 1:
                raise
            half = len(batch) // 2
            self._batch = max(1, half)
            return [*await self._browse(batch[:half]), *await self._browse(batch[half:])]
        out: list[list[ua.ReferenceDescription]] = []
        for one, result in zip(batch, results, strict=True):
            if result.StatusCode.value == StatusCodes.BadNoContinuationPoints and len(batch) > 1:
                out += await self._browse([one])
            else:
                out.append(await self._all_references(result))
        return out

    async def _request(self, batch: Sequence[Walked]) -> list[ua.BrowseResult]:
        wanted = ua.BrowseParameters(
            View=ua.ViewDescription(),
            RequestedMaxReferencesPerNode=ua.Counter(_MAX_REFERENCES),
            NodesToBrowse=[
                ua.BrowseDescription(
                    NodeId=one.node,
                    BrowseDirection=ua.BrowseDirection.Forward,
                    ReferenceTypeId=ua.NodeId(ua.Int32(ObjectIds.HierarchicalReferences)),
                    IncludeSubtypes=True,
                    NodeClassMask=ua.UInt32(_CLASSES),
                    ResultMask=ua.UInt32(_ALL_FIELDS),
                )
                for one in batch
            ],
        )
        return await self._session.browse(wanted)

    async def _all_references(self, result: ua.BrowseResult) -> list[ua.ReferenceDescription]:
        """All references of a node, over as many answers as needed."""
        references = list(result.References or ())
        while result.ContinuationPoint:
            is_enough = len(references) >= MAX_NODES or time.monotonic() > self._until_s
            wanted = ua.BrowseNextParameters(
                ReleaseContinuationPoints=is_enough,
                ContinuationPoints=[result.ContinuationPoint],
            )
            answers = await self._session.browse_next(wanted)
            if is_enough or not answers:
                break
            result = answers[0]
            references += result.References or ()
        return references


def _number(node: ua.NodeId) -> int | None:
    """The number of a node of the standard's namespace."""
    if node.NamespaceIndex == 0 and isinstance(node.Identifier, int):
        return node.Identifier
    return None


def _plain_type(node: ua.NodeId) -> ua.NodeIdType:
    small = {ua.NodeIdType.TwoByte, ua.NodeIdType.FourByte}
    return ua.NodeIdType.Numeric if node.NodeIdType in small else node.NodeIdType


def _prefix(pattern: str) -> str:
    """The folder that every matching path begins with: other folders need no walk."""
    literal = pattern
    for sign in "*?[":
        literal = literal.partition(sign)[0]
    folder = literal.rpartition("/")[0]
    is_address = "=" in pattern or not any(sign in pattern for sign in "*?[")
    return "" if is_address or not folder else f"{folder}/"


def _fits(pattern: str, one: Walked, namespaces: Sequence[str]) -> bool:
    if not pattern:
        return True
    glob = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    glob = glob.lower()
    path, address = "/".join(one.path).lower(), address_form(one.node, namespaces).lower()
    return fnmatchcase(path, glob) or fnmatchcase(address, glob)
