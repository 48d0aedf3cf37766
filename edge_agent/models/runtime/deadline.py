"""Ends runs that take too long, by one thread for all: one each would cost more than the run."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY_S: Final = 0.1  # a run is ended that much late at the most


class Deadlines:
    """Runs that are under way, by their options. Its thread sleeps while there are none."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[Any, float]] = {}
        self._busy = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def within(self, budget_s: float, options: Any) -> Iterator[None]:  # noqa: ANN401 (not typed)
        """Set `terminate` of these RunOptions if the block takes longer."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
            self._thread.start()
        self._running[id(options)] = (options, time.monotonic() + budget_s)
        self._busy.set()
        try:
            yield
        finally:
            del self._running[id(options)]

    def _watch(self) -> None:
        while True:
            self._busy.wait()
            self._busy.clear()
            time.sleep(_EVERY_S)
            now_s = time.monotonic()
            for options, until_s in list(self._running.values()):
                if now_s > until_s:
                    options.terminate = True
            if self._running:
                self._busy.set()


DEADLINES: Final = Deadlines()
