"""Other programs that use the daemon while it watches the plant, each in its own process."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import time
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event
    from pathlib import Path

ROWS, LENGTH, SIGNALS = 16, 64, 8
_INFER = "/v2/models/bench/infer"
_PAGES, _PARAGRAPHS, _WORDS = 30, 6, 80  # of a manual, a page, a paragraph
_PARTS = [f"{part} {number}" for part in ("pump", "seal", "belt", "valve") for number in range(50)]


class OtherLoad:
    """Does its work at a pace until it is left. p50_ms: of its requests; 0 if it has none.

    pace_s: from the beginning of one to that of the next; at once if one takes longer.
    """

    pace_s: ClassVar[float]

    def __init__(self, url: str, folder: Path) -> None:
        self.p50_ms = 0.0
        self._place, self._folder = url.removeprefix("http://"), folder
        self._stop = multiprocessing.Event()
        here, there = multiprocessing.Pipe()
        self._found: Connection = here
        self._process = multiprocessing.Process(target=self._run, args=(self._stop, there))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.p50_ms = self._found.recv()
        self._process.join()

    def _run(self, stop: Event, out: Connection) -> None:
        connection = http.client.HTTPConnection(self._place, timeout=60)
        took: list[float] = []
        next_s = time.perf_counter()
        for number in count():
            if stop.wait(max(0.0, next_s - time.perf_counter())):
                break
            asked_s = time.perf_counter()
            next_s = max(next_s + self.pace_s, asked_s)
            self.work(connection, number)
            took.append((time.perf_counter() - asked_s) * 1e3)
        out.send(statistics.median(took) if took else 0.0)

    def work(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Do it once."""
        raise NotImplementedError


class InferenceLoad(OtherLoad):
    """Binary requests of 16 windows."""

    pace_s = 0.01

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(url, folder)
        self._body, self._headers = _request()

    def work(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Ask for the scores of the windows."""
        del number
        _ask(connection, _INFER, self._body, self._headers)


class QuestionLoad(OtherLoad):
    """A question to the manuals each second."""

    pace_s = 1.0

    def work(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Ask how a part is changed."""
        question = f"How do I change the {_PARTS[number % len(_PARTS)]}?"
        body = json.dumps({"question": question, "language": "en"}).encode()
        _ask(connection, "/api/ask", body, {"Content-Type": "application/json"})


class ManualLoad(OtherLoad):
    """A new manual in the folder each second: the daemon looks for them every ten."""

    pace_s = 1.0

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for manual in (self._folder / "manuals").iterdir():  # the next turn is without an index
            manual.unlink()

    def work(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Write a manual."""
        del connection
        rng = np.random.default_rng(number)
        text = []
        for _ in range(_PAGES):
            text.append(f"# Change the {rng.choice(_PARTS)}")
            text += [" ".join(rng.choice(_PARTS, _WORDS)) + "." for _ in range(_PARAGRAPHS)]
        name = f"{time.monotonic_ns()}.md"
        (self._folder / "manuals" / name).write_text("\n\n".join(text))


def _ask(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> None:
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status}: {content[:200]!r}")


def _request() -> tuple[bytes, dict[str, str]]:
    x = np.random.default_rng(0).normal(20, 1, (ROWS, LENGTH, SIGNALS)).astype(np.float32)
    unit = np.arange(ROWS, dtype=np.int64)
    inputs = [
        {
            "name": name,
            "datatype": kind,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, kind, array in (("x", "FP32", x), ("unit", "INT64", unit))
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = head + x.tobytes() + unit.tobytes()
    size = {"Inference-Header-Content-Length": str(len(head)), "Content-Length": str(len(body))}
    return body, size
