"""Bundles for other programs: loaded on demand, in processes of their own, bounded."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tiny_versions
from oip_support import LENGTH, NAME, served, windows
from support import until, value_of

from edge_agent.clock import APART
from edge_agent.errors import ModelError, NotFoundError
from edge_agent.models import ModelRepository
from edge_agent.models.runtime.isolated_engine import IsolatedEngine
from edge_agent.service.served_jobs import DeadlineError, GoneError, OverloadedError
from edge_agent.service.served_models import BusyError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.service.admission import ModelQueue


def two_versions(folder: Path) -> ModelRepository:
    """Version 1 active, version 2 on the shelf only; no template names either."""
    repository = ModelRepository(folder)
    tiny_versions.mean("2", 2.0, folder=folder / "new" / NAME)
    repository.install(folder / "new" / NAME)
    (folder / "new").rename(folder.parent / "new")
    tiny_versions.mean("1", folder=folder / NAME)
    return repository


async def scores(queue: ModelQueue, *levels: float) -> list[float]:
    found = await queue.infer({"x": windows(*levels)}, len(levels))
    return [float(one) for one in found["score"]]


async def test_every_version_is_served(tmp_path: Path) -> None:
    """By default the active one; one on the shelf by its version."""
    two_versions(tmp_path / "models")
    async with served(tmp_path / "models") as here:
        assert await here.models.versions(NAME) == ["2", "1"]
        assert await scores(await here.models.queue(NAME), 3.0) == [3.0]
        assert await scores(await here.models.queue(NAME, "2"), 3.0) == [6.0]
        assert await here.models.queue(NAME, "1") is await here.models.queue(NAME)
        assert value_of(here.metrics.served_models) == 2
        for name, version in (("other", None), (NAME, "3"), ("../x", None)):
            with pytest.raises(NotFoundError):
                await here.models.queue(name, version)


async def test_another_active_version_is_noticed(tmp_path: Path) -> None:
    """After `models activate` requests without a version get the new one, within a second."""
    repository = two_versions(tmp_path / "models")
    async with served(tmp_path / "models") as here:
        assert await scores(await here.models.queue(NAME), 3.0) == [3.0]
        repository.activate(NAME, "2")
        here.clock.advance(2)
        assert await scores(await here.models.queue(NAME), 3.0) == [6.0]


async def test_a_bundle_that_does_not_verify_is_refused_once(tmp_path: Path) -> None:
    """As for the plant; the same files are not tried again by each request."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    (tmp_path / NAME / "model.onnx").write_bytes(b"no model")
    async with served(tmp_path) as here:
        for _ in range(2):
            with pytest.raises(ModelError, match="checksum"):
                await here.models.queue(NAME)
        bundle = await here.models.bundle(NAME)
        assert here.models.state(bundle)[0] == "UNAVAILABLE"
        assert value_of(here.metrics.model_rejected.labels(NAME, "checksum")) == 1
        tiny_versions.mean("1", folder=tmp_path / NAME)
        here.clock.advance(2)
        assert await scores(await here.models.queue(NAME), 3.0) == [3.0]


async def test_models_always_run_in_other_processes(tmp_path: Path) -> None:
    """Whatever they have proven in the plant; at a lower priority than the daemon."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with served(tmp_path) as here:
        queue = await here.models.queue(NAME)
        engine: Any = queue.model.engine
        assert isinstance(engine, IsolatedEngine)
        number = engine._process._number  # type: ignore[union-attr]
        assert number != os.getpid()
        assert os.getpriority(os.PRIO_PROCESS, number) > os.getpriority(os.PRIO_PROCESS, 0)


async def test_the_least_used_gives_way(tmp_path: Path) -> None:
    """`inference.models` are in memory at most; one that has requests stays."""
    two_versions(tmp_path / "models")
    async with served(tmp_path / "models", models=1) as here:
        first = await here.models.queue(NAME)
        await here.models.queue(NAME, "2")
        assert [one.model.manifest.version for one in here.models.loaded()] == ["2"]
        with pytest.raises(GoneError):
            await first.infer({"x": windows(1.0)}, 1)


async def test_a_model_in_use_does_not_give_way(tmp_path: Path) -> None:
    """The other one is refused until there is room."""
    two_versions(tmp_path / "models")
    gate = threading.Event()
    async with served(tmp_path / "models", models=1, is_busy=lambda: not gate.is_set()) as here:
        waiting = asyncio.create_task(scores(await here.models.queue(NAME), 3.0))
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await here.models.queue(NAME, "2")
        gate.set()
        assert await waiting == [3.0]


async def test_an_unused_model_leaves_memory(tmp_path: Path) -> None:
    """After `inference.idle`, with its process; the next request loads it again."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with served(tmp_path, idle=60.0) as here:
        await here.models.queue(NAME)
        here.clock.advance(59)
        await here.models.tend()
        assert len(here.models.loaded()) == 1
        here.clock.advance(2)
        await here.models.tend()
        assert here.models.loaded() == []
        assert await scores(await here.models.queue(NAME), 3.0) == [3.0]


async def test_unload_is_final_until_load(tmp_path: Path) -> None:
    """No request loads it meanwhile, as with Triton."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with served(tmp_path) as here:
        await here.models.queue(NAME)
        await here.models.unload(NAME)
        assert here.models.loaded() == []
        with pytest.raises(GoneError, match="unloaded"):
            await here.models.queue(NAME)
        await here.models.load(NAME)
        assert await scores(await here.models.queue(NAME), 3.0) == [3.0]


# -- the queue ------------------------------------------------------------------------------------


async def test_requests_that_wait_are_answered_by_one_run(tmp_path: Path) -> None:
    """Each gets its own rows, in its order."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    async with served(tmp_path, is_busy=lambda: not gate.is_set()) as here:
        queue = await here.models.queue(NAME)
        asked = [asyncio.create_task(scores(queue, *range(n, 2 * n))) for n in range(1, 9)]
        await until(lambda: queue.pending == 8, "the requests wait")
        gate.set()
        for n, task in enumerate(asked, 1):
            assert await task == list(range(n, 2 * n))
        assert (queue.counts.requests, queue.counts.rows, queue.counts.runs) == (8, 36, 1)


async def test_a_run_has_no_more_rows_than_a_batch(tmp_path: Path) -> None:
    """`runtime.max_batch` bounds the time for which others wait."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    async with served(tmp_path, is_busy=lambda: not gate.is_set()) as here:
        queue = await here.models.queue(NAME)
        asked = [asyncio.create_task(scores(queue, *range(30))) for _ in range(5)]
        await until(lambda: queue.pending == 5, "the requests wait")
        gate.set()
        await asyncio.gather(*asked)
        assert queue.counts.by_batch.keys() == {60, 30}


async def test_a_full_queue_refuses(tmp_path: Path) -> None:
    """With the time after which it is worth to try again."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    async with served(tmp_path, queue=3, is_busy=lambda: not gate.is_set()) as here:
        queue = await here.models.queue(NAME)
        asked = [asyncio.create_task(scores(queue, 1.0)) for _ in range(3)]
        await until(lambda: queue.pending == 3, "the requests wait")
        with pytest.raises(OverloadedError) as refused:
            await queue.infer({"x": windows(1.0)}, 1)
        assert refused.value.retry_s >= 1
        gate.set()
        assert await asyncio.gather(*asked) == [[1.0]] * 3


async def test_a_request_has_a_deadline(tmp_path: Path) -> None:
    """Behind the plant's windows it waits no longer than that, and is not run afterwards."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    gate = threading.Event()
    async with served(tmp_path, deadline=0.5, is_busy=lambda: not gate.is_set()) as here:
        queue = await _patiently(here.models, NAME)
        with pytest.raises(DeadlineError):
            await queue.infer({"x": windows(1.0)}, 1)
        assert queue.pending == 0
        gate.set()
        assert await scores(queue, 2.0) == [2.0]
        assert queue.counts.requests == 1


async def _patiently(models: Any, name: str) -> ModelQueue:
    """The queue of a model that takes longer to load than a request may wait."""
    while True:
        try:
            found: ModelQueue = await models.queue(name)
        except GoneError:
            continue
        return found


async def test_a_run_that_hangs_is_ended(tmp_path: Path) -> None:
    """Its process is killed at the deadline; what is noted of the plant's model stays."""
    tiny_versions.hangs_over(100, "1", folder=tmp_path / NAME)
    async with served(tmp_path, deadline=1.0) as here:
        queue = await _patiently(here.models, NAME)
        assert await scores(queue, 3.0) == [3.0]
        begin_s = time.monotonic()
        with pytest.raises(DeadlineError):
            await queue.infer({"x": windows(1000.0)}, 1)
        assert time.monotonic() - begin_s < 20
        await until(lambda: queue.pending == 0, "the run is ended")
        with pytest.raises(GoneError, match="again soon"):
            await queue.infer({"x": windows(3.0)}, 1)
        assert ModelRepository(tmp_path).state(NAME).deaths == ()


async def test_a_request_that_fails_does_not_fail_those_beside_it(tmp_path: Path) -> None:
    """They are run again, each by itself."""
    tiny_versions.fails_over(10, "1", folder=tmp_path / NAME)
    gate = threading.Event()
    async with served(tmp_path, is_busy=lambda: not gate.is_set()) as here:
        queue = await here.models.queue(NAME)
        asked = [asyncio.create_task(scores(queue, level)) for level in (3.0, 50.0, 4.0)]
        await until(lambda: queue.pending == 3, "the requests wait")
        gate.set()
        first, bad, last = await asyncio.gather(*asked, return_exceptions=True)
        assert (first, last) == ([3.0], [4.0])
        assert isinstance(bad, ModelError)
        assert queue.counts.failed == 1


async def test_runs_begin_between_the_turns_of_the_plant(tmp_path: Path) -> None:
    """With turns that take two thirds of the time, none of the runs begins in one.

    The control, the same load without the rule, begins in them about as often as time is theirs.
    """
    tiny_versions.mean("1", folder=tmp_path / NAME)
    in_turn = [False]
    stop = threading.Event()

    def plant() -> None:
        while not stop.is_set():
            for in_turn[0], share in ((True, 0.010), (False, 0.005)):
                time.sleep(share)

    begun: dict[str, list[bool]] = {"obeys": [], "control": []}
    thread = threading.Thread(target=plant)
    thread.start()
    try:
        for name, is_busy in (("obeys", lambda: in_turn[0]), ("control", lambda: False)):
            async with served(tmp_path, is_busy=is_busy) as here:
                queue = await here.models.queue(NAME)
                _watch(queue, begun[name], in_turn)
                for _ in range(100):
                    await queue.infer({"x": np.zeros((1, LENGTH, 2), np.float32)}, 1)
    finally:
        stop.set()
        thread.join()
    obeys, control = (sum(row) / len(row) for row in begun.values())
    assert control > 0.3
    assert obeys < control / 4


def _watch(queue: ModelQueue, begun: list[bool], in_turn: list[bool]) -> None:
    run = queue._run

    def watched(jobs: Any) -> None:
        begun.append(in_turn[0])
        run(jobs)

    queue._run = watched  # type: ignore[method-assign]


async def test_the_processor_time_of_requests_is_known(tmp_path: Path) -> None:
    """The pipeline leaves it out of its own load, so that requests do not make it pause."""
    tiny_versions.mean("1", folder=tmp_path / NAME)
    async with served(tmp_path) as here:
        queue = await here.models.queue(NAME)
        before_s, all_s = APART.s, time.process_time()
        for _ in range(100):
            await scores(queue, 3.0)
        used_s = APART.s - before_s
        assert 0.0 < used_s <= time.process_time() - all_s
        await here.models.unload(NAME)
        assert APART.s >= before_s + used_s
