"""Another program that uses a model of the daemon: binary requests of 16 windows, at a pace."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.synchronize import Event

ROWS, LENGTH, SIGNALS = 16, 64, 8
_PATH = "/v2/models/bench/infer"


class InferenceLoad:
    """Asks from its own process until it is left; p50_ms: of its requests. rate: 0 for none."""

    def __init__(self, url: str, rate: float) -> None:
        self.p50_ms = float("nan")
        self._stop = multiprocessing.Event()
        here, there = multiprocessing.Pipe()
        self._found: Connection = here
        place = url.removeprefix("http://")
        self._process = multiprocessing.Process(target=_ask, args=(place, rate, self._stop, there))

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.p50_ms = self._found.recv()
        self._process.join()


def _ask(place: str, rate: float, stop: Event, out: Connection) -> None:
    body, size = _request()
    headers = {"Inference-Header-Content-Length": str(size), "Content-Length": str(len(body))}
    connection = http.client.HTTPConnection(place, timeout=30)
    took: list[float] = []
    begin_s = time.perf_counter()
    while rate and not stop.is_set():
        rest_s = begin_s + len(took) / rate - time.perf_counter()
        if rest_s > 0:
            time.sleep(rest_s)
        asked_s = time.perf_counter()
        connection.request("POST", _PATH, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"{answer.status}: {content[:200]!r}")
        took.append((time.perf_counter() - asked_s) * 1e3)
    stop.wait()
    out.send(statistics.median(took) if took else float("nan"))


def _request() -> tuple[bytes, int]:
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
    return head + x.tobytes() + unit.tobytes(), len(head)
