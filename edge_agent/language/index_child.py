"""The child that brings the index up to date with the folder, and ends.

On stdin one JSON object, `Job`. On stdout a JSON object a line for each change: document, and
passages or refused. Each changed file is read by a child of this one (`parse_child`): a file that
is damaged, endless or made to harm ends that child, and the others go on.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_agent.language.calibration import calibrate, saved
from edge_agent.language.documents import HTML, MARKDOWN, TEXT, Heading, Page
from edge_agent.language.encoders import embedded_text, kept_centre, open_encoder
from edge_agent.language.glossary import LANGUAGES
from edge_agent.language.index import Document, Index
from edge_agent.language.limits import limit_memory
from edge_agent.language.pdf import MISSING
from edge_agent.language.retrieval import Retriever

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.language.encoders import Encoder

SUFFIXES: Final = frozenset({".pdf"}) | HTML | MARKDOWN | TEXT
MAX_FILES: Final = 10_000
MAX_BYTES: Final = 256 << 20  # of a file
CHANGED: Final = "it changed while it was read; it is read again at the next look"
_MAX_ANSWER: Final = 100 << 20
_PIECE: Final = 1 << 16
_BATCH: Final = 32  # passages that are encoded together
_FIRST: Final = 4000  # characters in which a revision is looked for
_REVISION: Final = re.compile(
    r"(?:Revision|Rev\.|Version|Edition|Issue|Ausgabe|Stand|版本|版次|修订|改訂|改版)"
    r"\s*[:：]?\s*(?:[A-Z]\b|v?\d[\w.-]*(?<![.-]))"  # noqa: RUF001
    r"|第\s*\d+\s*版",
    re.IGNORECASE,
)
_SIGNALS: Final = {
    signal.SIGKILL: "it was killed: too much memory, or too much time",
    signal.SIGXCPU: "it took too much time (manuals.file_time)",
    signal.SIGSEGV: "it crashed the reader",
    signal.SIGABRT: "it crashed the reader",
}


@dataclass(frozen=True, slots=True)
class Job:
    """What to index; parse: the command of `parse_child`. memory: bytes, file_s: seconds."""

    folder: str
    index: str
    parse: list[str] = field(default_factory=list)
    encoder: str = "none"
    encoder_model: str = ""
    encoder_key: str = ""
    memory: int = 512 << 20
    file_s: float = 120.0
    max_pages: int = 5000


def bring_up_to_date(job: Job, index: Index) -> Iterator[dict[str, Any]]:
    """Index what has changed, forget what is gone; yields what was done."""
    known = {one.name: one for one in index.documents()}
    present = dict(_files(Path(job.folder)))
    gone = {known[name].sha256: name for name in known.keys() - present.keys()}
    for name, path in present.items():
        document = _described(name, path, known.get(name))
        if document is None:
            continue
        if name not in known and document.sha256 in gone:
            index.rename(gone.pop(document.sha256), document)
            yield {"document": name, "renamed": True}
        else:
            yield _indexed(job, index, path, document, is_known=name in known)
    for name in gone.values():
        index.remove(name)
        yield {"document": name, "removed": True}


def _indexed(
    job: Job, index: Index, path: Path, document: Document, *, is_known: bool
) -> dict[str, Any]:
    """Read a file into the index; one that changes meanwhile keeps its old revision until later."""
    pages = _pages(job, path, document)
    if _stamp(path) != (document.size, document.mtime_ns):
        pages, document.note = [], CHANGED
        if is_known:
            return {"document": document.name, "refused": CHANGED}
    document.revision = _revision(pages)
    count = index.add(document, pages)
    return {"document": document.name, "passages": count, "refused": document.note}


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; -1 if it is gone."""
    try:
        seen = path.stat()
    except OSError:
        return -1, -1
    return seen.st_size, seen.st_mtime_ns


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files to index by their name in the folder; no link leads out of it."""
    found = []
    root = folder.resolve(strict=True)
    for place, folders, files in os.walk(root):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            path = Path(place, file)
            if path.suffix.lower() in SUFFIXES and not file.startswith("."):
                found.append(path)
    for path in found[:MAX_FILES]:
        if path.is_file() and path.resolve().is_relative_to(root):
            # Bytes that are no UTF-8 stand as escapes: names stay different ones.
            name = str(path.relative_to(root)).encode("utf-8", "backslashreplace").decode()
            yield name, path


def _described(name: str, path: Path, known: Document | None) -> Document | None:
    """A document as it is to be indexed; None if the index has it."""
    size, mtime_ns = _stamp(path)
    retried = known is not None and known.note in {MISSING, CHANGED}
    if known is not None and (known.size, known.mtime_ns) == (size, mtime_ns) and not retried:
        return None
    digest = ""
    if size <= MAX_BYTES:
        try:
            with path.open("rb") as file:
                digest = _digest(file)
        except OSError:  # gone, or not ours to read: its reader says so
            digest = ""
    if known is not None and digest and known.sha256 == digest and not retried:
        return None
    number = sha256(f"{name}\0{digest}".encode()).hexdigest()[:16]
    return Document(number, name, digest, size, mtime_ns)


def _digest(file: Any) -> str:  # noqa: ANN401 (a binary file)
    found = sha256()
    while piece := file.read(1 << 20):
        found.update(piece)
    return found.hexdigest()


def _pages(job: Job, path: Path, document: Document) -> list[Page]:
    """The pages of a file as its child reads them; the note says why they are not all."""
    if document.size > MAX_BYTES:
        document.note = f"larger than {MAX_BYTES >> 20} MiB"
        return []
    rules = {"max_pages": job.max_pages, "memory": job.memory, "cpu_s": job.file_s}
    command = [*job.parse, str(path), json.dumps(rules)]
    # At nice 19 on a busy gateway, a second of processor takes many by the clock.
    code, stdout, stderr = run_bounded(command, 10 * job.file_s)
    if code != 0:
        document.note = _reason(code, stderr)
        return []
    try:
        told = json.loads(stdout)
        pages = [Page(n, str(t), [Heading(*h) for h in marks]) for n, t, marks in told["pages"]]
        document.pages, document.note = int(told["count"]), str(told["note"])
    except (ValueError, TypeError, KeyError, RecursionError):
        document.note = "its reader said nothing that can be read"
        return []
    return pages


def run_bounded(command: list[str], timeout_s: float) -> tuple[int, bytes, bytes]:
    """Run a command; its code, and at most so much of what it says."""
    child = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    timer = threading.Timer(timeout_s, child.kill)
    timer.start()
    try:
        with child:
            assert child.stdout is not None  # noqa: S101 (a pipe)
            assert child.stderr is not None  # noqa: S101
            stdout = bytearray()  # in pieces: read(n) would take n bytes at once
            while (piece := child.stdout.read(_PIECE)) and len(stdout) <= _MAX_ANSWER:
                stdout += piece
            if len(stdout) > _MAX_ANSWER:
                child.kill()
            stderr = child.stderr.read(4096)
            return child.wait(), bytes(stdout), stderr
    finally:
        timer.cancel()
        child.kill()


def _reason(code: int, stderr: bytes) -> str:
    if code < 0:
        return _SIGNALS.get(signal.Signals(-code), f"its reader ended by signal {-code}")
    last = stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:400] or f"its reader ended with code {code}"


def _revision(pages: list[Page]) -> str:
    """What the first pages call their revision; empty if they do not."""
    first = "\n".join(page.text for page in pages[:3])[:_FIRST]
    match = _REVISION.search(first)
    return " ".join(match[0].split()) if match else ""


def encode(index: Index, encoder: Encoder) -> Iterator[dict[str, Any]]:
    """Make the vectors that are missing; all of them after a change of the encoder."""
    if index.meta("encoder") != encoder.name:
        index.db.execute("DELETE FROM vectors")
        for language in LANGUAGES:
            index.set_meta(f"centre {language}", kept_centre(encoder, language))
        index.set_meta("encoder", encoder.name)
        index.touch()
    done = 0
    while batch := index.without_vectors(_BATCH):
        vectors = encoder.encode_passages([embedded_text(one) for one in batch])
        index.add_vectors([one.id for one in batch], vectors)
        done += len(batch)
        if done % (8 * _BATCH) == 0:
            yield {"encoded": done}
    if done:
        index.touch()
        yield {"encoded": done}


def calibrate_changed(index: Index, encoder: Encoder | None) -> None:
    """Calibrate the documents that have no calibration of this encoder."""
    retriever = Retriever(index, encoder)
    retriever.refresh()
    used = "" if encoder is None else encoder.name
    for document in index.documents():
        if document.calibration.get("encoder") != used:
            found = saved(calibrate(retriever, document))
            index.set_calibration(document.id, {"encoder": used, **found})
            index.touch()


def main() -> int:
    """Do the job on stdin."""
    job = Job(**json.loads(sys.stdin.read()))
    limit_memory(job.memory)
    index = Index.open(Path(job.index))
    try:
        for event in bring_up_to_date(job, index):
            _tell(event)
        encoder = open_encoder(job.encoder, job.encoder_model, job.encoder_key)
        if encoder is not None:
            for event in encode(index, encoder):
                _tell(event)
        calibrate_changed(index, encoder)
        index.set_meta("indexed", datetime.now(UTC).isoformat(timespec="seconds"))
    except (sqlite3.Error, OSError, ValueError, MemoryError) as error:
        print(" ".join(str(error).split())[:400] or "out of memory", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        index.close()
    return 0


def _tell(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)  # noqa: T201
