"""The index of the manuals: one SQLite file, which can be deleted and is made again.

The index child writes it, the answer child reads it; nobody else opens it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.language.passages import Stored, cut, page_hash
from edge_agent.language.words import language_of, terms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.language.documents import Page
    from edge_agent.language.passages import Passage

    Numbers = NDArray[np.int64]

VERSION: Final = 3  # of the tables and of how passages are cut: another one is made again
MAX_BYTES: Final = 1 << 30  # of the file; further manuals are then not indexed
_SCHEMA: Final = """
CREATE TABLE documents (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, revision TEXT NOT NULL, language TEXT NOT NULL,
    pages INTEGER NOT NULL, note TEXT NOT NULL, calibration TEXT NOT NULL DEFAULT '{}');
CREATE TABLE pages (
    document TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE TABLE parts (
    id INTEGER PRIMARY KEY, document TEXT NOT NULL, section INTEGER NOT NULL,
    heading TEXT NOT NULL, path TEXT NOT NULL, language TEXT NOT NULL);
CREATE INDEX parts_section ON parts (document, section);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, part INTEGER NOT NULL, page INTEGER NOT NULL, text TEXT NOT NULL,
    hazard INTEGER NOT NULL);
CREATE INDEX passages_part ON passages (part);
CREATE TABLE vectors (passage INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE trigram USING fts5 (heading, body, tokenize = 'trigram');
CREATE VIRTUAL TABLE term USING fts5 (heading, body, tokenize = 'unicode61 remove_diacritics 0');
"""
_PASSAGE: Final = (
    "SELECT p.id, p.part, t.document, p.page, p.text, t.heading, t.path, t.section, p.hazard,"
    " t.language, d.name, d.revision FROM passages AS p JOIN parts AS t ON t.id = p.part"
    " JOIN documents AS d ON d.id = t.document"
)
# A language of fewer parts of a document than this is not believed: tables, listings.
_LEAST_PARTS: Final = 0.15


@dataclass(slots=True)
class Document:
    """A file of the folder; note: why it is not, or not wholly, in the index.

    calibration: see `calibration.Calibration`, as JSON.
    """

    id: str
    name: str
    sha256: str
    size: int
    mtime_ns: int
    revision: str = ""
    language: str = ""
    pages: int = 0
    note: str = ""
    calibration: dict[str, Any] = field(default_factory=dict)


class Index:
    """The tables; close it at the end."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        db.row_factory = sqlite3.Row

    @classmethod
    def open(cls, path: Path) -> Index:
        """The index in a file, a new one where it is missing, damaged or of another version."""
        with suppress(sqlite3.DatabaseError):
            index = cls(sqlite3.connect(path, isolation_level=None))
            if index._version() == VERSION:
                index._bound()
                return index
            index.db.close()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        index = cls(sqlite3.connect(path, isolation_level=None))
        path.chmod(0o600)
        index.db.execute("PRAGMA journal_mode = WAL")
        index._bound()
        index.create()
        return index

    def _bound(self) -> None:
        """Limit the file: the store of the alarms is on the same disk."""
        size = int(self.db.execute("PRAGMA page_size").fetchone()[0])
        self.db.execute(f"PRAGMA max_page_count = {MAX_BYTES // size}")
        self.db.execute(f"PRAGMA journal_size_limit = {MAX_BYTES >> 5}")

    @classmethod
    def open_to_read(cls, path: Path) -> Index:
        """The same for a reader; sqlite3.Error if there is none."""
        return cls(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True))

    @classmethod
    def in_memory(cls) -> Index:
        """An empty index."""
        index = cls(sqlite3.connect(":memory:", isolation_level=None))
        index.create()
        return index

    def create(self) -> None:
        """Make the tables."""
        self.db.executescript(_SCHEMA)
        self.set_meta("version", str(VERSION))

    def _version(self) -> int:
        """The version of the tables; 0 if the file is damaged."""
        is_sound = self.db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
        return int(self.meta("version") or 0) if is_sound else 0

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def meta(self, key: str) -> str:
        """A value that `set_meta` stored, else empty."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return "" if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store a value."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # -- documents --------------------------------------------------------------------------------

    def documents(self) -> list[Document]:
        """All documents by name."""
        rows = self.db.execute("SELECT * FROM documents ORDER BY name").fetchall()
        return [Document(**{**row, "calibration": json.loads(row["calibration"])}) for row in rows]

    def add(self, document: Document, pages: Sequence[Page]) -> int:
        """Add a document, in place of one of the same name; returns the number of passages."""
        passages = list(cut(pages))
        text = "\n".join(page.text for page in pages)
        document.language = language_of(text) if text.strip() else ""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            self._remove(document.name)
            columns = {**asdict(document), "calibration": json.dumps(document.calibration)}
            places = ", ".join(f":{name}" for name in columns)
            names = ", ".join(columns)
            self.db.execute(f"INSERT INTO documents ({names}) VALUES ({places})", columns)  # noqa: S608
            for page in pages:
                row = (document.id, page.number, page_hash(page.text), page.text)
                self.db.execute("INSERT INTO pages VALUES (?, ?, ?, ?)", row)
            for _, part in groupby(passages, key=lambda one: one.part):
                self._add_part(document.id, list(part))
            self._settle_languages(document)
            self.touch()
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        return len(passages)

    def _settle_languages(self, document: Document) -> None:
        """Give the parts of a rare language the document's: they are tables and listings."""
        query = "SELECT language, COUNT(*) FROM parts WHERE document = ? GROUP BY language"
        counts = dict(self.db.execute(query, (document.id,)).fetchall())
        rare = [k for k, n in counts.items() if n < _LEAST_PARTS * sum(counts.values())]
        query = "UPDATE parts SET language = ? WHERE document = ? AND language = ?"
        for one in rare:
            self.db.execute(query, (document.language, document.id, one))

    def _add_part(self, document: str, part: Sequence[Passage]) -> None:
        first = part[0]
        text = "\n".join(one.text for one in part)
        row = (document, first.section, first.heading, first.path, language_of(text))
        query = "INSERT INTO parts (document, section, heading, path, language)"
        number = self.db.execute(f"{query} VALUES (?, ?, ?, ?, ?)", row).lastrowid
        for one in part:
            self.db.execute(
                "INSERT INTO passages (part, page, text, hazard) VALUES (?, ?, ?, ?)",
                (number, one.page, one.text, one.hazard),
            )
        texts = (number, first.path, text)
        self.db.execute("INSERT INTO trigram (rowid, heading, body) VALUES (?, ?, ?)", texts)
        tokens = (number, " ".join(terms(first.path)), " ".join(terms(text)))
        self.db.execute("INSERT INTO term (rowid, heading, body) VALUES (?, ?, ?)", tokens)

    def rename(self, old: str, document: Document) -> None:
        """Give a document that is there, with all that was made of it, another name and id."""
        query = "SELECT id FROM documents WHERE name = ?"
        was = self.db.execute(query, (old,)).fetchone()["id"]
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute(
            "UPDATE documents SET id = ?, name = ?, size = ?, mtime_ns = ? WHERE id = ?",
            (document.id, document.name, document.size, document.mtime_ns, was),
        )
        for table in ("pages", "parts"):
            self.db.execute(
                f"UPDATE {table} SET document = ? WHERE document = ?",  # noqa: S608 (of two)
                (document.id, was),
            )
        self.touch()
        self.db.execute("COMMIT")

    def remove(self, name: str) -> None:
        """Remove a document whose file is gone."""
        self.db.execute("BEGIN IMMEDIATE")
        self._remove(name)
        self.touch()
        self.db.execute("COMMIT")

    def _remove(self, name: str) -> None:
        row = self.db.execute("SELECT id FROM documents WHERE name = ?", (name,)).fetchone()
        if row is None:
            return
        parts = "(SELECT id FROM parts WHERE document = ?)"
        passages = f"(SELECT id FROM passages WHERE part IN {parts})"  # noqa: S608 (no input)
        for table, where in (
            ("vectors", f"passage IN {passages}"),
            ("passages", f"part IN {parts}"),
            ("trigram", f"rowid IN {parts}"),
            ("term", f"rowid IN {parts}"),
            ("parts", "document = ?"),
            ("pages", "document = ?"),
            ("documents", "id = ?"),
        ):
            self.db.execute(f"DELETE FROM {table} WHERE {where}", (row["id"],))  # noqa: S608

    def touch(self) -> None:
        """Count a change, so that readers load again."""
        self.set_meta("generation", str(int(self.meta("generation") or 0) + 1))

    def page(self, document: str, number: int) -> tuple[str, str] | None:
        """The text and the SHA-256 of a page."""
        query = "SELECT text, sha256 FROM pages WHERE document = ? AND number = ?"
        row = self.db.execute(query, (document, number)).fetchone()
        return None if row is None else (row["text"], row["sha256"])

    # -- passages ---------------------------------------------------------------------------------

    def passages(self, parts: Iterable[int] | None = None) -> list[Stored]:
        """The passages of parts, or all."""
        where = ""
        if parts is not None:
            where = f"WHERE p.part IN ({', '.join(str(int(one)) for one in parts)})"
        return self._stored(f"{where} ORDER BY p.id")

    def passages_of(self, document: str) -> list[Stored]:
        """The passages of a document."""
        return self._stored("WHERE t.document = ? ORDER BY p.id", document)

    def set_calibration(self, document: str, calibration: dict[str, Any]) -> None:
        """Store the calibration of a document."""
        query = "UPDATE documents SET calibration = ? WHERE id = ?"
        self.db.execute(query, (json.dumps(calibration), document))

    def _stored(self, where: str, *values: object) -> list[Stored]:
        rows = self.db.execute(f"{_PASSAGE} {where}", values)
        return [Stored(**{**row, "hazard": bool(row["hazard"])}) for row in rows]

    def hazards(self, one: Stored) -> list[Stored]:
        """The passages with a signal word in the section of a passage."""
        where = "WHERE t.document = ? AND t.section = ? AND p.hazard ORDER BY p.id"
        return self._stored(where, one.document, one.section)

    def without_vectors(self, limit: int) -> list[Stored]:
        """Passages that have no vector yet."""
        where = "WHERE p.id NOT IN (SELECT passage FROM vectors) ORDER BY p.id LIMIT ?"
        return self._stored(where, limit)

    def add_vectors(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Store the vectors of passages."""
        rows = [
            (one, vector.astype(np.float16).tobytes())
            for one, vector in zip(ids, vectors, strict=True)
        ]
        with closing(self.db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
            cursor.execute("COMMIT")

    def languages(self) -> dict[str, int]:
        """The languages of the parts, and how many parts each has."""
        query = "SELECT language, COUNT(*) FROM parts GROUP BY language ORDER BY language"
        return {str(language): int(count) for language, count in self.db.execute(query)}

    def vectors(self) -> tuple[Numbers, Numbers, NDArray[np.float32], NDArray[np.str_]]:
        """Passages [N], their parts [N], vectors [N, D] and languages [N]."""
        rows = self.db.execute(
            "SELECT v.passage, p.part, v.vector, t.language FROM vectors AS v"
            " JOIN passages AS p ON p.id = v.passage JOIN parts AS t ON t.id = p.part"
            " ORDER BY v.passage"
        ).fetchall()
        ids = np.array([row["passage"] for row in rows], np.int64)
        parts = np.array([row["part"] for row in rows], np.int64)
        raw = b"".join(row["vector"] for row in rows)
        width = len(raw) // 2 // len(rows) if rows else 0
        return (
            ids,
            parts,
            np.frombuffer(raw, np.float16).astype(np.float32).reshape(len(rows), width),
            np.array([row["language"] for row in rows], np.str_),
        )
