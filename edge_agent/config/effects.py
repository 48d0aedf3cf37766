"""Keys without an effect: they are refused, because their author expects an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edge_agent.config.schema import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_agent.config.problem import KeyPath, Notes
    from edge_agent.config.schema import Config

_DEFAULT = Signal()


@runtime_checkable
class _KnowsSignals(Protocol):
    """A source's struct that reports keys, its own or of a signal, that have no effect."""

    def unread_keys(self) -> Sequence[str]:
        """Keys of a signal that this source does not read."""

    def unfit(self, signals: dict[str, Signal], *, windows: bool) -> Iterator[tuple[str, str]]:
        """Contradictions with the signals of this source, as (key, message), by signal name.

        windows: true if a model scores them, or learns from them.
        """


def check_effects(config: Config, signals: Iterable[tuple[KeyPath, Signal]], notes: Notes) -> None:
    """Note keys without effect: of signals for their source, and of sources for their signals."""
    if ("sources",) in notes.broken:
        return
    only = next(iter(config.sources), "") if len(config.sources) == 1 else ""
    by_source: dict[str, dict[str, Signal]] = {}
    for path, signal in signals:
        name = signal.source or only
        by_source.setdefault(name, {})[str(path[-1])] = signal
        source = config.sources.get(name)  # type: ignore[call-overload]
        for key in source.unread_keys() if isinstance(source, _KnowsSignals) else ():
            if getattr(signal, key) != getattr(_DEFAULT, key):
                notes.add((*path, key), f"has no effect: source {name} does not read it")
    judged = _judged(config, only)
    for name, source in config.sources.items():
        if isinstance(source, _KnowsSignals) and ("sources", name) not in notes.broken:
            for key, text in source.unfit(by_source.get(name, {}), windows=name in judged):
                parts = tuple(int(k) if k.isdecimal() else k for k in key.split("."))
                notes.add(("sources", name, *parts), text)


def _judged(config: Config, only: str) -> set[str]:
    """Sources whose signals a model scores, or learns from."""
    return {
        signal.source or only
        for template in config.templates.values()
        if template.models or template.learn is not None
        for signal in template.signals.values()
    }
