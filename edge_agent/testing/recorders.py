"""An intake and a sink that keep everything they receive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.messages import Link
from edge_agent.sinks import ALERT, EVENT, Refusals, Sink
from edge_agent.values import Columns, TensorBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.messages import Message


class ListIntake:
    """An intake that keeps every packet and every block, in the order of arrival."""

    def __init__(self) -> None:
        self.packets: list[Columns] = []
        self.blocks: list[TensorBlock] = []

    def append(self, values: Columns) -> None:
        """Keep a packet's values."""
        self.packets.append(values)

    def append_block(self, block: TensorBlock) -> None:
        """Keep a block."""
        self.blocks.append(block)

    def backpressured(self) -> bool:
        """False: it accepts everything."""
        return False

    @property
    def columns(self) -> Columns:
        """All values so far."""
        return Columns.concat(self.packets)

    def __len__(self) -> int:
        return sum(len(packet) for packet in self.packets)


class RecordingSink(Sink):
    """A sink that confirms every message at once and keeps it, unless `answer` raises.

    messages: in the order of their confirmation; scores: (topic, body) pairs; statuses: in order
    of their calls. answer(message): raises DeliveryError to refuse a message.
    """

    kinds = frozenset({ALERT, EVENT})

    def __init__(self, name: str = "recorder", window: int = 1) -> None:
        self.name = name
        self.window = window
        self.link = Link()
        self.answer: Callable[[Message], None] = lambda _: None
        self.messages: list[Message] = []
        self.scores: list[tuple[str, bytes]] = []
        self.statuses: list[str] = []
        self.refusals = Refusals()

    async def start(self) -> None:
        """Do nothing: there is no connection."""

    async def stop(self) -> None:
        """Do nothing: there is no connection."""

    async def deliver(self, message: Message) -> None:
        """Confirm the message, or raise what `answer` raises."""
        self.answer(message)
        self.messages.append(message)

    def publish_scores(self, batch: Sequence[tuple[str, bytes]]) -> None:
        """Keep the pairs."""
        self.scores.extend(batch)

    def set_status(self, status: str) -> None:
        """Keep the status."""
        self.statuses.append(status)

    def show_refusals(self, refusals: Refusals) -> None:
        """Keep the newest."""
        self.refusals = refusals
