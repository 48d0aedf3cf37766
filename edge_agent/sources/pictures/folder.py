"""Pictures in a folder: which files are whole and new, when they were taken, what becomes of them.

Only polling works on NFS, too: inotify does not see what another machine writes.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import threading
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

from edge_agent.config.cameras import Earlier, FileTime
from edge_agent.errors import ConnectError
from edge_agent.messages import LinkState
from edge_agent.sources.pictures.base import CameraSource
from edge_agent.sources.pictures.exif import taken_at
from edge_agent.sources.pictures.topics import part_of
from edge_agent.transport import LostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TypeVar

    from edge_agent.config.cameras import WatchedFolder

    T = TypeVar("T")

MAX_FILES: Final = 20_000  # names that are looked at
_EACH_LOOK: Final = 4  # files that are read in one look: the others stay until the next one
_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload")
_ANSWER_S: Final = 30.0  # an NFS server that is gone never answers
_NS_PER_US: Final = 1_000


class FolderPicture(NamedTuple):
    """A file that was read. data: None if it is too large."""

    name: str
    data: bytes | None
    at_ns: int | None
    part: str | None


class _Stamp(NamedTuple):
    size: int
    mtime_ns: int


class FolderReader:
    """What is new in a folder. All calls block; after an OSError the next look begins anew.

    position_us: the newest time of a file that was read, also of the last run of the service; None
    before the first one.
    """

    def __init__(self, config: WatchedFolder, max_bytes: int) -> None:
        self._config = config
        self._max_bytes = max_bytes
        self._name = re.compile(config.name)
        self._read: dict[str, _Stamp] = {}  # files that are still there
        self._before: dict[str, _Stamp] = {}  # what was not yet read in the last look
        self._has_looked = False
        self.position_us: int | None = None
        self.waiting = 0

    def look(self) -> list[FolderPicture]:
        """Read the oldest files that are new and whole, at most `_EACH_LOOK`."""
        found = dict(self._files())
        if not self._has_looked:
            self._has_looked = True
            self._read = {name: one for name, one in found.items() if self._is_old(one)}
        self._read = {name: one for name, one in self._read.items() if name in found}
        new = {name: one for name, one in found.items() if self._read.get(name) != one}
        whole = [name for name, one in new.items() if self._before.get(name) == one]
        self._before = new
        whole.sort(key=lambda name: (new[name].mtime_ns, name))
        self.waiting = len(whole)
        taken = (self._take(name, new[name]) for name in whole[:_EACH_LOOK])
        return [one for one in taken if one is not None]

    def newest(self) -> bytes | None:
        """The newest file that fits, which stays; None if there is none."""
        found = dict(self._files())
        if not found:
            return None
        name = max(found, key=lambda one: found[one].mtime_ns)
        return self._bytes_of(self._config.path / name, found[name])

    def _files(self) -> Iterator[tuple[str, _Stamp]]:
        with os.scandir(self._config.path) as entries:
            for entry, _ in zip(entries, range(MAX_FILES), strict=False):
                name = entry.name
                if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                    continue
                if not fnmatchcase(name, self._config.pattern):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield name, _Stamp(status.st_size, status.st_mtime_ns)

    def _is_old(self, one: _Stamp) -> bool:
        """True if a file that is there at the start is not read."""
        earlier = self._config.earlier
        if earlier is Earlier.MISSED and not (self._config.done or self._config.remove):
            return self.position_us is None or one.mtime_ns // _NS_PER_US <= self.position_us
        return earlier is Earlier.SKIP

    def _take(self, name: str, before: _Stamp) -> FolderPicture | None:
        """Read a file; None if it has changed meanwhile, or is gone."""
        path = self._config.path / name
        try:
            data = self._bytes_of(path, before)
        except FileNotFoundError:
            return None
        if data is None:
            return None
        self._read[name] = before
        self.position_us = max(self.position_us or 0, before.mtime_ns // _NS_PER_US)
        self._put_away(path)
        data_or_none = data if before.size <= self._max_bytes else None
        return FolderPicture(name, data_or_none, *self._said(name, data, before))

    def _bytes_of(self, path: Path, before: _Stamp) -> bytes | None:
        """None if it has changed since the look; never a device, a pipe or a link."""
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            data = file.read(self._max_bytes + 1)
            status = os.fstat(handle)
        return data if _Stamp(status.st_size, status.st_mtime_ns) == before else None

    def _put_away(self, path: Path) -> None:
        if self._config.remove:
            path.unlink(missing_ok=True)
        elif self._config.done is not None:
            self._config.done.mkdir(parents=True, exist_ok=True)
            shutil.move(path, self._config.done / path.name)

    def _said(self, name: str, data: bytes, stamp: _Stamp) -> tuple[int | None, str | None]:
        """Time and part of a file."""
        match = self._name.search(name) if self._config.name else None
        groups = match.groupdict() if match else {}
        return self._time(groups.get("time"), data, stamp), part_of(groups.get("part"))

    def _time(self, named: str | None, data: bytes, stamp: _Stamp) -> int | None:
        config = self._config
        if config.time is FileTime.ARRIVAL:
            return None
        found: int | None = None
        if config.time is FileTime.NAME and named is not None:
            found = _named_time(named, config.name_time, config.timezone)
        elif config.time is FileTime.EXIF:
            found = taken_at(data, config.timezone)
        return stamp.mtime_ns if found is None else found


def _named_time(text: str, form: str, zone: str) -> int | None:
    """Nanoseconds since the epoch of a time in a name; None if it has not this form."""
    try:
        moment = datetime.strptime(text, form)  # noqa: DTZ007 (the zone follows)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone) if zone != "UTC" else UTC)
        return round(moment.timestamp() * 1e6) * _NS_PER_US
    except (ValueError, OverflowError, OSError):
        return None


class FolderCamera(CameraSource):
    """A camera whose pictures somebody writes into a folder."""

    def _prepare(self) -> None:
        super()._prepare()
        assert self._config.folder is not None  # noqa: S101 (its kind)
        self._folder = self._config.folder
        self.target = str(self._folder.path)
        self._reader = FolderReader(self._folder, int(self._config.max_bytes))
        self._asked: asyncio.Future[list[FolderPicture]] | None = None
        self._heard_s = 0.0  # when a picture was read, by the monotonic clock

    def received_until(self) -> dict[str, int]:
        """The time (us) of the newest file that was read."""
        position_us = self._reader.position_us
        return {} if position_us is None else {self.name: position_us}

    def resume_after(self, received_until: Mapping[str, int]) -> None:
        """Files that are newer were missed."""
        if self.name in received_until:
            self._reader.position_us = received_until[self.name]

    async def _serve(self) -> None:
        silence_s = self._config.silence_s
        self._heard_s = self._heard_s or self._clock.monotonic_s()
        while True:
            for one in await self._look():
                self._heard_s = self._clock.monotonic_s()
                self._pass_on(one)
            if silence_s is None or self._clock.monotonic_s() - self._heard_s <= silence_s:
                self._reconnector.set_connected(detail=self._detail())
            elif self.link.state is not LinkState.DOWN:  # it stays lost until a picture comes
                raise LostError(f"no picture for {silence_s:g} s", where=self.target)
            await asyncio.sleep(self._folder.every)

    def _detail(self) -> str:
        waiting = self._reader.waiting
        return f"{waiting} files wait" if waiting > _EACH_LOOK else ""

    def _pass_on(self, one: FolderPicture) -> None:
        if one.data is None:
            self.refuse("too_large", f"{one.name} is larger than max_bytes")
        else:
            self.deliver(one.data, one.at_ns, one.part)

    async def _look(self) -> list[FolderPicture]:
        """What is new; a look that hangs stays alone until it ends."""
        if self._asked is None or self._asked.done():
            self._asked = in_thread(self._reader.look, f"folder {self.name}")
        done, _ = await asyncio.wait([self._asked], timeout=_ANSWER_S)
        if not done:
            raise ConnectError(f"no answer for {_ANSWER_S:g} s", where=self.target)
        try:
            return self._asked.result()
        except OSError as error:
            raise ConnectError(str(error.strerror or error).lower(), where=self.target) from error


def in_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The result of work in a thread that may hang for ever without holding up our end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type] # T, if there is no error
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            found, error = work(), None
        except Exception as problem:  # noqa: BLE001 (it is the caller's)
            found, error = None, problem
        if not loop.is_closed():
            loop.call_soon_threadsafe(finish, found, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
