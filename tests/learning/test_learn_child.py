"""Learning in a process of its own: the same result, and nothing of it in ours."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from tiny_models import NOW_US, healthy, recipe

from edge_agent.config.schema import Resample
from edge_agent.errors import ModelError
from edge_agent.learning import fit_child
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.fit_child import TIMEOUT_S, run_recipe
from edge_agent.models.bundle.bundle import verify_bundle
from edge_agent.models.bundle.manifest import InputSpec

if TYPE_CHECKING:
    from edge_agent.models.bundle.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
INPUTS = (
    InputSpec("flow", "m³/h", (0.0, 500.0), resample=Resample.MEAN),
    InputSpec("pressure", "bar"),
    InputSpec("speed"),
)
ROWS = {"P-1": healthy(1), "Pumpe Süd": healthy(2)}


async def learn_in_child(
    rows: dict[str, np.ndarray],
    inputs: tuple[InputSpec, ...],
    *,
    name: str,
    out_dir: Path,
    now_us: int,
    timeout_s: float = TIMEOUT_S,
    **recipe: Any,
) -> tuple[Manifest, dict[str, str]]:
    return await run_recipe(rows, Recipe(name, inputs, **recipe), out_dir, now_us, timeout_s)


async def test_the_child_writes_what_we_would_have_written(tmp_path: Path) -> None:
    training = (("data", "line 3"),)
    manifest, refused = await learn_in_child(
        {**ROWS, "P-9": healthy(3, 20)},
        INPUTS,
        name="learned",
        out_dir=tmp_path / "child",
        now_us=NOW_US,
        length=16,
        step_s=0.5,
        training=training,
    )
    same = recipe(inputs=INPUTS, step_s=0.5, training=training)
    assert manifest == learn(ROWS, same, now_us=NOW_US).write(tmp_path / "own")
    assert list(refused) == ["P-9"]
    assert verify_bundle(tmp_path / "child" / "learned") == []
    assert names(tmp_path / "child") == ["learned"]


async def test_a_refusal_comes_back_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        await learn_in_child(
            {"P-9": healthy(3, 20)}, INPUTS, name="learned", out_dir=tmp_path, now_us=NOW_US
        )
    assert str(refused.value).startswith("learned: P-9: 20 complete rows of the 256 needed")
    assert "\n" not in str(refused.value)
    assert names(tmp_path) == []


async def test_learning_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"more than 0\.01 s"):
        await learn_in_child(
            ROWS, INPUTS, name="x", out_dir=tmp_path, now_us=NOW_US, timeout_s=0.01
        )
    assert children() == []
    assert names(tmp_path) == []


async def test_a_cancelled_learning_leaves_no_child(tmp_path: Path) -> None:
    rows = {f"P-{i}": healthy(i, 20_000) for i in range(20)}
    task = asyncio.create_task(
        learn_in_child(rows, INPUTS, name="x", out_dir=tmp_path, now_us=NOW_US)
    )
    while not children():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []
    assert names(tmp_path) == []


async def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="name"):
        await learn_in_child(ROWS, INPUTS, name="../x", out_dir=tmp_path, now_us=NOW_US)
    assert names(tmp_path) == []


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def children() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if c.status() != psutil.STATUS_ZOMBIE]


def test_the_daemon_never_imports_onnx() -> None:
    """What the inference room imports into the daemon is the runtime alone."""
    code = "import sys, edge_agent.daemon; sys.exit('onnx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 0


def test_rows_survive_the_way_to_the_child(tmp_path: Path) -> None:
    from edge_agent.learning.fit_child import _load, _save  # noqa: PLC0415

    rows = {"../a b": np.array([[np.nan, 1.5]], np.float32), "ü": np.zeros((0, 2), np.float32)}
    wanted = recipe(inputs=INPUTS[:2], hop=3, row_interval_s=0.1)
    times = {"ü": np.zeros(0, np.int64)}
    _save(tmp_path / "in.npz", rows, wanted, 7, times)
    found, told, now_us, found_times = _load(tmp_path / "in.npz")
    assert (told, now_us, list(found)) == (wanted, 7, list(rows))
    assert np.array_equal(found["../a b"], rows["../a b"], equal_nan=True)
    assert {name: each.dtype.name for name, each in found_times.items()} == {"ü": "int64"}


LIMITED = """
import sys
from edge_agent.learning import fit_child
fit_child.memory_limit = lambda: int(sys.argv.pop(1))
sys.exit(fit_child.main())
"""


@pytest.mark.parametrize(("mib", "code"), [(1, 3), (896, 0)])
def test_learning_that_needs_too_much_memory_is_refused(
    tmp_path: Path, mib: int, code: int
) -> None:
    """A runaway ends itself, and not the daemon beside it; what a gateway learns is below."""
    from edge_agent.learning.fit_child import _save  # noqa: PLC0415

    rows = {f"P-{number}": healthy(number, 20_000) for number in range(4)}
    _save(tmp_path / "in.npz", rows, recipe(inputs=INPUTS, length=16), NOW_US, {})
    words = [str(mib << 20), str(tmp_path / "in.npz"), str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        env={"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert ("needs more than 1 MiB of memory" in done.stderr) == (code == 3)


@pytest.mark.parametrize(
    ("maximum", "high", "expected_mib"),
    [("max", "max", 4000), (1 << 30, "max", 896), (4 << 30, 3 << 30, 1436), ("", "", 4000)],
)
def test_learning_takes_half_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, maximum: object, high: object, expected_mib: int
) -> None:
    """Of the service's group or of the machine; never less than a day of 60 signals needs."""
    texts = {
        "meminfo": f"MemTotal: 1 kB\nMemAvailable: {8000 << 10} kB\n",
        "cgroup": "0::/system.slice/edge-agent.service\n",
        "memory.current": f"{200 << 20}\n" if maximum else "",
        "memory.max": f"{maximum}\n",
        "memory.high": f"{high}\n",
    }
    monkeypatch.setattr(fit_child, "_text", lambda file: texts[Path(file).name])
    assert fit_child.memory_limit() >> 20 == expected_mib
