"""Power cuts of a whole machine: a user-mode Linux whose kernel is killed.

The daemon, its broker, a plant and a subscriber run in the guest. The host's file system is its
root, read-only; the store is on an ext4 image. SIGKILL ends the kernel with its page cache, so that
only what was synced is in the image, as after a power cut. Every event that the subscriber has
received must then be in the store.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from scripts.rigs import ROOT
from scripts.rigs.faults.promises import SBIN, Measured

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.rigs.faults.promises import Run

CUTS: Final = 20
QUICK_CUTS: Final = 2
CONTROL_CUTS: Final = 30  # at most: on an idle machine one of seven cuts loses something
DISK_BYTES: Final = 96 << 20
MEMORY: Final = "512M"
START_S: Final = 120.0  # until the first event
LIFE_S: Final = (0.3, 5.0)  # from then to the cut
STORE: Final = ("store.db", "store.db-wal")

INIT: Final = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH={root} PYTHONDONTWRITEBYTECODE=1 HOME=/
mount -t proc proc /proc
mount -t tmpfs tmpfs {work}
mount -t ext4 /dev/ubda {disk} || echo "X no disk"
export TMPDIR={work}
exec {python} -m scripts.rigs.faults.power_guest {work} {disk} {patches}
"""


@dataclass
class Guest:
    """Files of the guest, and what its console has said over all cuts.

    heard: the CRC of the contents by id; wrong: what must not be; problems: of the rig itself.
    """

    folder: Path
    patches: str
    heard: dict[str, str] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def image(self) -> Path:
        """The disk with the store."""
        return self.folder / "disk.img"


def power_cut(run: Run) -> Measured:
    """Cut the power at random moments; the control does not sync commits."""
    cuts = (QUICK_CUTS if run.quick else CUTS) if run.protected else CONTROL_CUTS
    guest = Guest(run.folder, "" if run.protected else "unsynced_commits")
    choose = random.Random(5)  # noqa: S311 (a plan, not a secret)
    make_disk(guest)
    for number in range(cuts):
        live_until_the_cut(guest, choose.uniform(*LIFE_S))
        if guest.problems:
            raise RuntimeError(f"cut {number + 1}: {guest.problems[0]}")
        guest.lost |= guest.heard.keys() - stored_ids(guest)
        run.tell(f"cut {number + 1} of {cuts}: {figure_of(guest)}")
        if not run.protected and (guest.lost or guest.wrong):
            cuts = number + 1  # the control has failed, as it must
            break
    return Measured(f"{cuts} cuts, {figure_of(guest)}", holds=not guest.lost and not guest.wrong)


def figure_of(guest: Guest) -> str:
    """What has been counted so far."""
    wrong = f"; {len(guest.wrong)} wrong, such as {guest.wrong[0]}" if guest.wrong else ""
    return f"{len(guest.heard)} transitions received, {len(guest.lost)} of them lost{wrong}"


def make_disk(guest: Guest) -> None:
    """An empty ext4 image, the mount points, and the guest's first program."""
    work, disk = guest.folder / "work", guest.folder / "disk"
    work.mkdir()
    disk.mkdir()
    with guest.image.open("wb") as file:
        file.truncate(DISK_BYTES)
    command("mkfs.ext4", "-q", "-F", str(guest.image))
    init = guest.folder / "init"
    init.write_text(
        INIT.format(root=ROOT, work=work, disk=disk, python=sys.executable, patches=guest.patches)
    )
    init.chmod(0o755)


def live_until_the_cut(guest: Guest, life_s: float) -> None:
    """Boot, wait for the first event, and kill the kernel after this time."""
    kernel = ["linux.uml", f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/"]
    kernel += ["ro", f"init={guest.folder / 'init'}", f"ubd0={guest.image}"]
    kernel += ["con=null", "con0=null,fd:1", "quiet"]
    first = threading.Event()
    with subprocess.Popen(
        kernel,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        reader = threading.Thread(target=_read_console, args=(process, guest, first))
        reader.start()
        if not first.wait(START_S):
            guest.problems.append(f"no event within {START_S:g} s")
        elif not guest.problems:
            time.sleep(life_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        reader.join()


def _read_console(process: subprocess.Popen[bytes], guest: Guest, first: threading.Event) -> None:
    assert process.stdout is not None  # noqa: S101 (for mypy)
    for line in process.stdout:
        match line.decode(errors="replace").split():
            case ["E", name, crc] if line.endswith(b"\n"):
                if name not in guest.heard:
                    first.set()  # a repetition of an earlier life is no sign of this one
                if guest.heard.setdefault(name, crc) != crc:
                    guest.wrong.append(f"{name} of two contents")
            case ["X", *words]:
                guest.problems.append(" ".join(words))
                first.set()


def stored_ids(guest: Guest) -> set[str]:
    """The ids in the store on a copy of the disk, after the file system has replayed its journal.

    Without mounting it, so that this needs no rights.
    """
    copy = guest.folder / "copy.img"
    shutil.copyfile(guest.image, copy)
    command("e2fsck", "-f", "-y", str(copy), allowed=1)  # 1: it has corrected something
    place = guest.folder / "look"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name in STORE:
        command("debugfs", "-R", f"dump {name} {place / name}", str(copy))
    with contextlib.closing(sqlite3.connect(place / STORE[0])) as db:
        if (said := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
            guest.wrong.append(f"the store is damaged: {said}")
        return {f"{a}:{n}" for a, n in db.execute("SELECT alarm_id, seq FROM history")}


def command(name: str, *arguments: str, allowed: int = 0) -> None:
    """Run a program of e2fsprogs; OSError with what it says if it fails."""
    program = shutil.which(name, path=SBIN) or name
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode > allowed:
        raise OSError(f"{name} ended with {done.returncode}: {done.stderr.strip()}")
