"""Models in processes of their own: what they may take, how they end, when they leave them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from isolated_models import Host, rows, runtime
from support import value_of
from tiny_versions import NAME, eats_over, hangs_over, mean

from edge_agent.config.settings import Isolated, Runtime
from edge_agent.errors import ModelError
from edge_agent.models import BusyError, LateError, ModelRepository, StoppedError
from edge_agent.models.bundle.ort import CPU
from edge_agent.models.bundle.steady import is_steady
from edge_agent.models.runtime.graph_session import GraphSession
from edge_agent.models.runtime.isolated_engine import IsolatedEngine
from edge_agent.models.runtime.run_mark import RunMark
from edge_agent.testing import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.models import Model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.isolation.close()


def engine_of(model: Model) -> IsolatedEngine:
    assert isinstance(model.engine, IsolatedEngine)
    return model.engine


def kill(model: Model, number: signal.Signals = signal.SIGSEGV) -> None:
    """Send a signal to the process of a model: its own fault ends it like that."""
    process = engine_of(model)._process
    assert process is not None
    os.kill(process._number, number)


def outputs_of(model: Model) -> list[float]:
    """The scores of a late run, or nothing."""
    try:
        scores: list[float] = model.late_outputs().score.tolist()
    except LateError:
        return []
    return scores


def graph(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / NAME / "model.onnx")


# -- runs -----------------------------------------------------------------------------------------


def test_an_isolated_model_scores_as_in_this_process(host: Host) -> None:
    """Also more windows than one batch has, and also after a process was replaced."""
    isolated = host.load(mean, factor=3.0)
    here = host.new_registry(isolation=Isolated.NEVER).load(NAME)
    x = {"x": np.random.default_rng(1).random((200, 4, 2)).astype(np.float32)}
    assert isolated.is_isolated
    assert not here.is_isolated
    assert np.array_equal(isolated.infer(x).score, here.infer(x).score)


def test_nobody_waits_for_a_model_that_hangs_in_one_operator(host: Host) -> None:
    """The caller goes on after the patience; at the limit the process is killed."""
    model = host.load(hangs_over, 10.0)
    begin_s = time.monotonic()
    with pytest.raises(LateError) as late:
        model.infer(rows(50.0), 1.0)
    assert time.monotonic() - begin_s < 0.9
    with pytest.raises(BusyError):
        model.infer(rows(1.0), 1.0)
    time.sleep(max(0.0, begin_s + 1.05 - time.monotonic()))
    with pytest.raises(ModelError, match="no answer after"):
        model.late_outputs()
    assert engine_of(model).deaths == 1
    assert late.value.message.startswith("no answer after")


def test_in_this_process_such_a_model_is_not_ended(tmp_path: Path) -> None:
    """The control: a limit of 0.05 s does not end the operator."""
    hangs_over(10.0, steps=4_000_000, folder=tmp_path / NAME)
    session = GraphSession(graph(tmp_path).SerializeToString(), (CPU,), 64, NAME)
    begin_s = time.monotonic()
    with pytest.raises(ModelError):
        session.infer(rows(50.0), ["score"], 0.05)
    assert time.monotonic() - begin_s > 0.2


def test_a_slow_answer_is_used_later(host: Host) -> None:
    """A run that is late is not lost."""
    model = host.load(mean)
    kill(model, signal.SIGSTOP)
    with pytest.raises(LateError) as late:
        model.infer(rows(7.0), 60.0, wait=False)
    assert not late.value.is_computing
    kill(model, signal.SIGCONT)
    wait_until(lambda: outputs_of(model) == [7.0], timeout_s=10, what="the answer")


def test_a_model_that_eats_memory_fails_alone(host: Host) -> None:
    """Its run fails; the next one works, in the same process."""
    model = host.load(eats_over, 10.0)
    with pytest.raises(ModelError, match="alloc"):
        model.infer(rows(50.0), 20.0)
    assert model.infer(rows(2.0), 20.0).score.tolist() == [2.0]
    assert engine_of(model).deaths == 0


# -- deaths ---------------------------------------------------------------------------------------


def test_a_process_that_crashes_is_replaced(host: Host) -> None:
    """Its run fails and says why; after a pause `tend` starts another one."""
    model = host.load(mean)
    kill(model)
    with pytest.raises(ModelError, match=r"its process crashed \(SIGSEGV\)"):
        model.infer(rows(1.0), 5.0)
    assert host.registry.tend() == []
    with pytest.raises(ModelError, match="SIGSEGV"):
        model.infer(rows(1.0), 5.0)  # not before the pause is over
    engine_of(model)._restart_s = 0.0
    host.registry.tend()
    assert model.infer(rows(1.0), 5.0).score.tolist() == [1.0]
    assert value_of(host.metrics.model_process_ends.labels(NAME)) == 1


def test_a_model_whose_runs_end_three_processes_stays_away(host: Host) -> None:
    """Also after a restart; until it is activated again."""
    model = host.load(mean)
    ModelRepository(host.folder).install(host.folder / NAME)
    for _ in range(3):
        kill(model)
        with pytest.raises(ModelError):
            model.infer(rows(1.0), 5.0)
        engine_of(model)._restart_s = 0.0
        host.registry.tend()
    with pytest.raises(ModelError):
        model.infer(rows(1.0), 5.0)
    with pytest.raises(StoppedError, match="models activate watch@1"):
        host.new_registry().load(NAME)
    ModelRepository(host.folder).activate(NAME, "1")
    assert host.new_registry().load(NAME).infer(rows(1.0)).score.tolist() == [1.0]


def test_the_kernel_ends_them_before_the_daemon(host: Host) -> None:
    """If the memory of the gateway, or of the service, is short."""
    model = host.load(mean)
    process = engine_of(model)._process
    assert process is not None
    numbers = ["self", str(process._number)]
    ours, theirs = (Path(f"/proc/{n}/oom_score_adj").read_text("utf-8") for n in numbers)
    assert int(theirs) == 1000 > int(ours)


def test_processes_end_with_their_models(host: Host) -> None:
    """No process and no zombie stays when nobody uses the model any longer."""
    model = host.load(mean)
    process = engine_of(model)._process
    assert process is not None
    number, launcher = process._number, host.isolation._launcher._child
    assert launcher is not None
    del model, process
    host.isolation.tend([], ModelRepository(host.folder), runtime())
    assert not Path(f"/proc/{number}").exists()
    assert launcher.poll() is not None


DAEMON = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from isolated_models import Host, rows
from tiny_versions import hangs_over
host = Host(Path({folder!r}))
model = host.load(hangs_over, 10.0)
try:
    model.infer(rows(50.0), 60.0)
except Exception:
    print(host.isolation._launcher._child.pid, model.engine._process._number, flush=True)
input()
"""


def test_processes_end_with_a_daemon_that_is_killed(tmp_path: Path) -> None:
    """Also one that hangs in an operator."""
    code = DAEMON.format(path=[str(ROOT), str(ROOT / "tests")], folder=str(tmp_path))
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        numbers = list(map(int, daemon.stdout.readline().split()))
        assert len(numbers) == 2
        assert all(Path(f"/proc/{number}").exists() for number in numbers)
        daemon.kill()
    wait_until(lambda: not any(map(_runs, numbers)), timeout_s=10, what="the end of all")


def _runs(number: int) -> bool:
    """False for a zombie, too: here nobody waits for orphans."""
    try:
        text = Path(f"/proc/{number}/stat").read_text("utf-8")
    except OSError:
        return False
    return text.rsplit(")", 1)[1].split()[0] != "Z"


# -- who is isolated ------------------------------------------------------------------------------


def test_a_proven_model_moves_into_this_process(host: Host) -> None:
    """After 1,000 windows and an hour; and it starts here from then on."""
    model = host.load(mean)
    model.infer(rows(*[1.0] * 1000))
    assert host.registry.tend() == []
    host.now_s = 3600.0
    ((proven, engine),) = host.registry.tend()
    proven.replace_engine(engine)
    assert not model.is_isolated
    assert model.infer(rows(2.0)).score.tolist() == [2.0]
    fresh = Host(host.folder)
    assert not fresh.registry.load(NAME).is_isolated
    fresh.isolation.close()


def test_by_default_no_foreign_model_moves_into_this_process(tmp_path: Path) -> None:
    """Whatever it has proven, now or before: there it could stop all alarms."""
    proven(tmp_path)
    host = Host(tmp_path, isolation=Runtime().isolation)
    model = host.registry.load(NAME)
    assert model.is_isolated
    model.infer(rows(*[1.0] * 1000))
    host.now_s = 3600.0
    assert host.registry.tend() == []
    host.isolation.close()


def test_a_model_whose_time_depends_on_its_values_is_never_proven(host: Host) -> None:
    """It may not have met the value yet that makes it hang."""
    model = host.load(hangs_over, 10.0)
    model.infer(rows(*[1.0] * 2000))
    host.now_s = 7200.0
    assert host.registry.tend() == []
    assert model.is_isolated


@pytest.mark.parametrize(("name", "steady"), [("watch", True), ("learned-pump-1", False)])
def test_a_baseline_that_was_learned_here_is_not_isolated(
    host: Host, tmp_path: Path, name: str, *, steady: bool
) -> None:
    """It is our own graph; any other one is."""
    mean(folder=tmp_path / NAME)
    trial = host.registry.load(NAME).trial
    needed = host.isolation.is_needed(host.registry._runtime, name, "digest", trial)
    assert trial.steady
    assert needed is steady


def test_shipped_models_are_steady_and_hostile_ones_are_not(tmp_path: Path) -> None:
    """A branch or a size that a value chooses is found, also inside a subgraph."""
    shipped = [onnx.load(path) for path in (ROOT / "models").glob("*/model.onnx")]
    assert len(shipped) == 3
    assert all(map(is_steady, shipped))
    for made in (hangs_over, eats_over):
        made(10.0, folder=tmp_path / NAME)
        assert not is_steady(graph(tmp_path))


# -- runs in the daemon that kill it --------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from isolated_models import Host, rows
from tiny_versions import NAME
host = Host(Path({folder!r}), isolation={isolation!r})
model = host.registry.load(NAME)
assert not model.is_isolated
model.infer(rows(1.0))
if {during_run!r}:
    model.engine.infer = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    model.infer(rows(1.0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def live_and_be_killed(folder: Path, *, during_run: bool, isolation: str = "young") -> None:
    """A process that runs the bundle of a folder in itself, and is killed."""
    path = [str(ROOT), str(ROOT / "tests")]
    code = KILLED.format(path=path, folder=str(folder), during_run=during_run, isolation=isolation)
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def proven(folder: Path) -> str:
    """A bundle that runs in the daemon; returns its digest."""
    made = Host(folder)
    digest: str = made.load(mean).sha256
    made.isolation.close()
    ModelRepository(folder).add_proven(NAME, digest)
    return digest


@pytest.mark.parametrize("during_run", [True, False])
def test_a_model_that_kills_the_daemon_is_isolated_next_time(
    tmp_path: Path, *, during_run: bool
) -> None:
    """The mark of its run survives; a kill between two runs says nothing about the model."""
    digest = proven(tmp_path)
    live_and_be_killed(tmp_path, during_run=during_run)
    host = Host(tmp_path)
    assert host.registry.load(NAME).is_isolated is during_run
    assert ModelRepository(tmp_path).state(NAME).killed == ((digest,) if during_run else ())
    host.isolation.close()


def test_a_model_that_cannot_be_isolated_stays_away_after_three_killed_lives(
    tmp_path: Path,
) -> None:
    """As on a GPU, or with `isolation: never`."""
    proven(tmp_path)
    for _ in range(3):
        live_and_be_killed(tmp_path, during_run=True, isolation="never")
    host = Host(tmp_path, isolation=Isolated.NEVER)
    with pytest.raises(StoppedError):
        host.registry.load(NAME)
    assert host.new_registry().load(NAME).is_isolated
    host.isolation.close()


def test_a_power_cut_is_no_fault_of_a_model(tmp_path: Path) -> None:
    """A mark of another boot does not count; one that is not a mark neither."""
    file = tmp_path / "mark"
    first = RunMark(file)
    first.set(first.label("pump", "abc"))
    assert RunMark(file).found == ("pump", "abc")
    assert RunMark(file).found is None
    file.write_bytes(b"another-boot\npump\nabc\n")
    assert RunMark(file).found is None
    file.write_bytes(b"\xff" * 4000)
    assert RunMark(file).found is None
