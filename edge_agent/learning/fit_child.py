"""Learning in a separate process, so that the daemon neither imports `onnx` nor blocks.

The child is passed a file with the rows and the folder to write; it returns exit code 3 and one
line on stderr if learning is impossible.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.config.schema import Kind, Resample
from edge_agent.errors import EdgeAgentError, ModelError
from edge_agent.learning.fit import Recipe, learn
from edge_agent.learning.waveform_bundle import WaveRecipe
from edge_agent.learning.waveform_fit import learn_waves
from edge_agent.models import (
    InputSpec,
    ModelRepository,
    child_command,
    child_environment,
    limit_memory,
    load_manifest,
)
from edge_agent.ops.owner import become_owner_of, scratch_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_agent.learning.learned_bundle import LearnedBundle
    from edge_agent.models import Manifest

    Floats = NDArray[np.floating]
    Times = Mapping[str, NDArray[np.int64]]

TIMEOUT_S: Final = 900.0
LEAST_BYTES: Final = 896 << 20  # a day of 60 signals at 1 Hz takes 660 MiB
_REFUSED: Final = 3
_NICER: Final = 10
_RECIPE: Final = "recipe"
_MAX_LINE: Final = 400


async def run_recipe(  # noqa: PLR0913 (the parameters of a training)
    rows: Mapping[str, NDArray[np.floating]],
    recipe: Recipe | WaveRecipe,
    out_dir: Path,
    now_us: int,
    timeout_s: float = TIMEOUT_S,
    *,
    times_us: Times | None = None,
) -> tuple[Manifest, dict[str, str]]:
    """Learn from rows [T, C] or waveforms by asset in a child, into `out_dir`/name; see `learn`.

    Returns the bundle's manifest and the assets that were refused, with the reason. ModelError if
    learning is impossible or the child took longer than `timeout_s`.
    """
    # In the models folder, not in /tmp: /tmp is often in memory, and the rows may be many.
    with scratch_for(out_dir, ".learn-") as scratch:
        given = scratch / "rows.npz"
        await asyncio.to_thread(_save, given, rows, recipe, now_us, times_us or {})
        refused = await _run(given, out_dir / recipe.name, timeout_s)
    return await asyncio.to_thread(load_manifest, out_dir / recipe.name), refused


async def _run(given: Path, folder: Path, timeout_s: float) -> dict[str, str]:
    child = await _start(given, folder)
    try:
        async with asyncio.timeout(timeout_s):
            stdout, stderr = await child.communicate()
    except TimeoutError as error:
        raise ModelError(f"learning took more than {timeout_s:g} s", where=folder.name) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == 0:
        return dict(json.loads(stdout))
    last = stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1][:_MAX_LINE]
    last = last.removeprefix(f"{folder.name}: ")  # the child writes the folder as well
    raise ModelError(last or _ended(child.returncode or 0), where=folder.name)


async def _start(given: Path, folder: Path) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *child_command("edge_agent.learning.fit_child", str(given), str(folder)),
            env=child_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        text = f"the learning process does not start: {error.strerror}"
        raise ModelError(text, where=folder.name, hint=f"who may run {sys.executable}?") from error


def _ended(code: int) -> str:
    if code < 0:
        return f"the learning process was killed (signal {-code}): is enough memory free?"
    return f"learning ended with code {code}"


def _save(
    path: Path,
    rows: Mapping[str, NDArray[np.floating]],
    recipe: Recipe | WaveRecipe,
    now_us: int,
    times_us: Times,
) -> None:
    told = {"now_us": now_us, "assets": list(rows), "waves": isinstance(recipe, WaveRecipe)}
    text = json.dumps({**asdict(recipe), **told})
    arrays = {f"rows{number}": values for number, values in enumerate(rows.values())}
    times = {f"times{n}": times_us[asset] for n, asset in enumerate(rows) if asset in times_us}
    np.savez(path, **{_RECIPE: np.array(text), **arrays, **times})  # type: ignore[arg-type]


def _load(path: Path) -> tuple[Mapping[str, Floats], Recipe | WaveRecipe, int, Times]:
    with np.load(path, allow_pickle=False) as file:
        told = json.loads(str(file[_RECIPE]))
        assets = list(enumerate(told.pop("assets")))
        rows = {asset: file[f"rows{n}"] for n, asset in assets}
        times = {asset: file[f"times{n}"] for n, asset in assets if f"times{n}" in file}
    now_us = told.pop("now_us")
    inputs = tuple(_input(**each) for each in told.pop("inputs"))
    training = tuple((key, value) for key, value in told.pop("training"))
    if told.pop("waves"):
        for key in ("lines", "orders"):
            told[key] = tuple(tuple(each) for each in told[key])
        told["conditions"] = tuple(_input(**each) for each in told["conditions"])
        return rows, WaveRecipe(inputs=inputs, training=training, **told), now_us, {}
    modes = tuple(told.pop("modes"))
    recipe = Recipe(inputs=inputs, training=training, modes=modes, **told)
    return rows, recipe, now_us, times


def _input(
    *,
    valid: list[float] | None,
    kind: str,
    resample: str,
    offset: list[float],
    counter: list[bool],
    **rest: Any,  # noqa: ANN401
) -> InputSpec:
    limits = None if valid is None else (valid[0], valid[1])
    return InputSpec(
        valid=limits,
        kind=Kind(kind),
        resample=Resample(resample),
        offset=tuple(offset),
        counter=tuple(counter),
        **rest,
    )


def _write(learned: LearnedBundle, folder: Path) -> None:
    """Write a bundle as the owner of its folder; an existing one of its name goes on the shelf."""
    become_owner_of(folder.parent)
    if folder.exists():
        ModelRepository(folder.parent).store_active(folder.name)
    learned.write(folder)


def memory_limit() -> int:
    """Bytes that learning may take: half of what is free here, so that the daemon keeps its part.

    Free is what the control group (a service, a container) or else the machine has left.
    """
    free = _left(Path("/proc/meminfo"), "MemAvailable:") << 10
    group = Path("/sys/fs/cgroup") / _text("/proc/self/cgroup").rpartition("::")[2].strip("/\n")
    used = _text(group / "memory.current")
    for name in ("memory.max", "memory.high"):
        if (most := _text(group / name).strip()).isdigit() and used.strip().isdigit():
            free = min(free, int(most) - int(used))
    return max(LEAST_BYTES, free // 2)


def _left(file: Path, key: str) -> int:
    words = _text(file).partition(key)[2].split()
    return int(words[0]) if words else 0


def _text(file: Path | str) -> str:
    with suppress(OSError):
        return Path(file).read_text("utf-8")
    return ""


def main() -> int:
    """Learn by the recipe in the first file, write the bundle, print the refusals as JSON."""
    with suppress(OSError):  # our systemd unit forbids it
        os.nice(_NICER)
    most = memory_limit()
    limit_memory(most)
    given, folder = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        rows, recipe, now_us, times_us = _load(given)
        if isinstance(recipe, WaveRecipe):
            learned = learn_waves(rows, recipe, now_us=now_us)
        else:
            learned = learn(rows, recipe, now_us=now_us, times_us=times_us)
        _write(learned, folder)
    except EdgeAgentError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return _REFUSED
    except MemoryError:
        text = f"learning needs more than {most >> 20} MiB of memory"
        print(f"{text}: fewer assets, a shorter `duration` or more memory", file=sys.stderr)  # noqa: T201
        return _REFUSED
    print(json.dumps(learned.refused))  # noqa: T201
    return 0
