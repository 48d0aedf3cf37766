"""The API keys in use: read again whenever their file changes, with their limits and last use."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from edge_agent.clock import US_PER_MS
from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Detail, Fault
from edge_agent.ops.key_file import (
    id_of,
    is_well_formed,
    read_keys,
    write_whole,
)
from edge_agent.ops.routes import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge_agent.clock import Clock
    from edge_agent.ops.key_file import Key

log = logging.getLogger("edge_agent.ops")

SAVE_EVERY_S: Final = 60.0  # the last uses
_FileState = tuple[int, int, int, int]


@dataclass(slots=True)
class _Use:
    """What a key uses now: the requests that its rate still allows, and those that run."""

    left: float
    at_s: float
    running: int = 0


class KeyRing:
    """All keys of one file.

    A file that is damaged, or gone after it was there, refuses all keys and is a fault; it never
    opens anything. is_required: keys are in use even if there is no file yet.
    """

    def __init__(self, path: Path, clock: Clock, *, is_required: bool = False) -> None:
        self.path = path
        self._name = os.fspath(path)
        self._clock = clock
        self._is_required = is_required
        self._was_there = False
        self._reading = (
            threading.Lock()
        )  # the server's thread, and the daemon's that asks for faults
        self._state: _FileState | None = None
        self._trouble: EdgeAgentError | None = None
        self._keys: dict[str, Key] = {}
        self._uses: dict[str, _Use] = {}
        self._last_used_ms: dict[str, int] = read_last_uses(path)
        self._unsaved = False
        self._saved_s = clock.monotonic_s()

    @property
    def is_used(self) -> bool:
        """True if clients can have keys: there is a file, also a damaged or an empty one."""
        self._refresh()
        return self._is_required or self._was_there

    @property
    def is_readable(self) -> bool:
        """False while no key can be checked."""
        self._refresh()
        return self._trouble is None

    def find(self, secret: str) -> Key | None:
        """The key with this secret, also an expired or revoked one; None if there is none."""
        self._refresh()
        if not is_well_formed(secret):
            return None
        key = self._keys.get(id_of(secret))
        if key is None or not key.matches(secret):
            return None
        self._last_used_ms[key.id] = self.now_ms()
        self._unsaved = True
        return key

    def is_valid(self, key_id: str) -> bool:
        """True if this key is known, and neither revoked nor expired."""
        self._refresh()
        key = self._keys.get(key_id)
        return key is not None and key.is_valid(self.now_ms())

    def ending(self) -> list[Key]:
        """The keys that expire soon, the first to end first."""
        self._refresh()
        now_ms = self.now_ms()
        found = [key for key in self._keys.values() if key.ends_soon(now_ms)]
        return sorted(found, key=lambda key: key.expires_ms or 0)

    def now_ms(self) -> int:
        """The time by which keys expire."""
        return self._clock.now_us() // US_PER_MS

    # -- the file -----------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Read the file if it is another one than before; a look costs 2 µs."""
        with self._reading:
            self._look()

    def _look(self) -> None:
        try:
            found = os.stat(self._name)  # noqa: PTH116 (at each request: half the time of a Path's)
            state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        except FileNotFoundError:
            if not self._was_there:
                return
            state = None
        except OSError:
            state = None  # reading it says why
        if state is None or state != self._state:
            self._state = state
            self._read()

    def _read(self) -> None:
        try:
            self._keys = read_keys(self.path)
        except FileNotFoundError:
            self._keys = {}
            gone = EdgeAgentError("it is gone", where=str(self.path), hint="restore it")
            self._set_trouble(gone if self._was_there else None)
        except EdgeAgentError as error:
            self._keys, self._was_there = {}, True
            self._set_trouble(error)
        else:
            self._was_there = True
            self._set_trouble(None)
        self._uses = {key: use for key, use in self._uses.items() if key in self._keys}

    def _set_trouble(self, trouble: EdgeAgentError | None) -> None:
        if trouble is not None and str(trouble) != str(self._trouble):
            extra = {"file": str(self.path), "reason": trouble.message, "hint": trouble.hint}
            log.error("all keys refused", extra=extra)
        elif trouble is None and self._trouble is not None:
            log.info("keys are read again", extra={"file": str(self.path)})
        self._trouble = trouble

    def faults(self) -> list[Fault]:
        """The fault that no key can be checked."""
        self._refresh()
        if self._trouble is None:
            return []
        args = {"where": str(self.path), "reason": self._trouble.message}
        text = f"all API keys are refused: {self._trouble}"
        return [Fault("keys", text, Detail("keys_refused", args))]

    # -- limits -------------------------------------------------------------------------------

    def take_request(self, key: Key) -> None:
        """Count a request of a key; Refusal (429) if it has too many in this time."""
        if key.rate is None:
            return
        use, most, now_s = self._use(key), max(1.0, key.rate), self._clock.monotonic_s()
        use.left = min(most, use.left + (now_s - use.at_s) * key.rate)
        use.at_s = now_s
        if use.left < 1.0:
            wait_s = (1.0 - use.left) / key.rate
            raise _too_many(f"more than {key.rate:g} requests a second", key, wait_s)
        use.left -= 1.0

    @contextlib.contextmanager
    def running(self, key_id: str) -> Iterator[None]:
        """Count a request while it runs; Refusal (429) if too many of its key do."""
        key = self._keys.get(key_id)
        if key is None or key.concurrency is None:
            yield
            return
        use = self._use(key)
        if use.running >= key.concurrency:
            raise _too_many(f"more than {key.concurrency} requests at a time", key, 1.0)
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def _use(self, key: Key) -> _Use:
        fresh = _Use(max(1.0, key.rate or 1.0), self._clock.monotonic_s())
        return self._uses.setdefault(key.id, fresh)

    # -- last use -----------------------------------------------------------------------------

    async def save_last_uses(self, *, at_once: bool = False) -> None:
        """Write when each key was used last, once a minute if any was; call it every second."""
        now_s = self._clock.monotonic_s()
        if not self._unsaved or not (at_once or now_s - self._saved_s >= SAVE_EVERY_S):
            return
        self._unsaved, self._saved_s = False, now_s
        self._last_used_ms = {i: ms for i, ms in self._last_used_ms.items() if i in self._keys}
        content = orjson.dumps(self._last_used_ms)
        try:
            await asyncio.to_thread(write_whole, last_use_file(self.path), content)
        except OSError as error:  # as of a full disk, or a folder that root alone may write
            log.debug("last use of keys not saved", extra={"reason": error.strerror})


def _too_many(what: str, key: Key, wait_s: float) -> Refusal:
    headers = {"Retry-After": str(math.ceil(wait_s))}
    return Refusal(429, f"{what} with the key {key.name}", "ask again later", headers)


# The file of last uses ----------------------------------------------------------------------------


def read_last_uses(path: Path) -> dict[str, int]:
    """When the keys of a file were used last, in ms since the epoch, by id; as far as is known."""
    try:
        found = orjson.loads(last_use_file(path).read_bytes())
        return {str(key): int(ms) for key, ms in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def last_use_file(path: Path) -> Path:
    """The file beside that of the keys with the times at which they were used."""
    return path.with_name(f"{path.name}.last-use")
