"""Root's commands act as the owner of the folder they write to, also where it is a trap."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from cli_recordings import add_window, write_site
from tiny_models import write_mean_bundle

from edge_agent.cli import COMMANDS, init, language, main, models
from edge_agent.cli.first_config import Plant
from edge_agent.language.wording import Judged, exam_tasks
from edge_agent.models import ModelRepository, generate_keys, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER: Final = 65534  # nobody
WHERE: Final = ("--url", "http://127.0.0.1:9", "--models-dir", "{models}")
RECORDING: Final = ("--asset", "P-1", "--input", "{root}/healthy.csv", "-c", "{root}/agent.yaml")
SOURCE: Final = {
    "type": "mqtt",
    "url": "mqtt://127.0.0.1:9",
    "subscribe": [{"topic": "{asset}/{signal}"}],
}
# Every command that writes into a folder that it is told, or that its config names. `run` is in
# tests/integration; `train` of a recipe takes minutes.
WRITES: Final = {
    "models install": ("{root}/mean-2.eab", "--activate", "--allow-unsigned", "mean", *WHERE),
    "models activate": ("mean@2", *WHERE),
    "models rollback": ("mean", *WHERE),
    "models shadow": ("mean@2", *WHERE),
    "models sign": ("{models}/mean", "--key", "{root}/plant.key"),
    "models pack": ("{root}/mean", "-o", "{models}"),
    "models keygen": ("{models}/plant",),
    "keys": ("create", "mes", "--scope", "read", "--file", "{models}/keys.json"),
    "learn": RECORDING,
    "train": ("history", *RECORDING, "--candidates", "chart"),
    "language": ("exam", "-c", "{root}/talk.yaml"),
    "labelled": ("export", "--folder", "{root}/labelled", "--output", "{models}/windows.csv"),
    "init": ("{models}/agent.yaml", "--yes", "--url", "mqtt://127.0.0.1:9"),
}
# They write nothing, or only what the daemon writes for them, or into a temporary folder.
READS: Final = {
    *(
        "demo",
        "check",
        "doctor",
        "browse",
        "listen",
        "replay",
        "ask",
        "bottleneck",
        "top",
        "completion",
        "plan",
        "notify",
        "oee",
        "quality",
    ),
    *("assets", "alarms"),
    *(f"models {verb}" for verb in ("list", "verify", "inspect", "report")),
    "run",
}


def all_commands() -> set[str]:
    verbs = {f"models {verb}" for group in models._GROUPS for verb in group.VERBS}
    return COMMANDS.keys() - {"models"} | verbs


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where all may pass: `models` belongs to another user, as does the folder above it."""
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        root.chmod(0o755)
        write_site(root)
        (root / "edge-agent.yaml").rename(root / "agent.yaml")
        text = (root / "agent.yaml").read_text().replace("models_dir: models", "models_dir: d/m")
        (root / "agent.yaml").write_text(text)
        more = "\nlanguage: {engine: openai, url: 'http://127.0.0.1:9', name: x}\n"
        (root / "talk.yaml").write_text(f"{text}{more}store: {{path: d/m/store.db}}\n")
        monkeypatch.setattr(language, "_sit", sat)
        (root / "plant.key").write_bytes(generate_keys()[0])
        (root / "plant.key").chmod(0o600)
        write_mean_bundle(root / "mean", 2.0, version="2")
        pack(root / "mean", root)
        add_window(root / "labelled")
        (root / "etc").mkdir()
        monkeypatch.chdir(root)
        found = Plant("plant", SOURCE, {"t": {"signals": {"x": {}}}}, {"A": {"template": "t"}}, "")
        monkeypatch.setattr(init, "look_at_plant", lambda *_: found)
        for name in ("OMP_NUM_THREADS", "ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE"):
            monkeypatch.setenv(name, "")  # `train` sets them
        yield root


async def sat(_: object) -> list[Judged]:
    """An exam with right answers alone."""
    return [Judged(task, answer, ()) for task, answer in exam_tasks()]


def fill(models_dir: Path) -> None:
    """Version 1 active, version 2 on the shelf, version 0 before."""
    repository = ModelRepository(models_dir)
    for version in ("0", "1", "2"):
        made = models_dir.parents[1] / f"made-{version}" / "mean"
        write_mean_bundle(made, float(version), version=version)
        repository.install(made)
        if version != "2":
            repository.activate("mean", version)


def call(command: str, root: Path) -> int:
    words = [word.format(root=root, models=root / "d" / "m") for word in WRITES[command]]
    return main([*command.split(), *words])


def give(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


def test_every_command_is_known_to_write_or_not() -> None:
    """A new command belongs into one of the two tables."""
    assert WRITES.keys() | READS == all_commands()
    assert not WRITES.keys() & READS


@pytest.mark.parametrize("command", WRITES)
def test_what_root_writes_belongs_to_the_folders_owner(place: Path, command: str) -> None:
    folder = place / "d" / "m"
    folder.mkdir(parents=True)
    fill(folder)
    give(folder.parent)
    before = tree(folder)
    assert call(command, place) == 0
    assert tree(folder) != before
    assert {uid for uid, *_ in tree(folder).values()} == {OTHER}
    assert os.getresuid() == (0, 0, 0)


def link_folder(models_dir: Path, target: Path) -> None:
    """The folder of models itself is a link."""
    shutil.rmtree(models_dir)
    models_dir.symlink_to(target)


def link_above(models_dir: Path, target: Path) -> None:
    """A folder above is a link, of a user who owns only the link."""
    shutil.copytree(models_dir, target / "m", dirs_exist_ok=True)
    shutil.rmtree(models_dir.parent)
    models_dir.parent.symlink_to(target)
    os.chown(models_dir.parent, OTHER, OTHER, follow_symlinks=False)


def link_below(models_dir: Path, target: Path) -> None:
    """The shelf and the active bundle are links to folders like those that root expects."""
    for name in (".shelf", "mean"):
        shutil.copytree(models_dir / name, target / name)
        shutil.rmtree(models_dir / name)
        (models_dir / name).symlink_to(target / name)
        os.chown(models_dir / name, OTHER, OTHER, follow_symlinks=False)


@pytest.mark.parametrize("trap", [link_folder, link_above, link_below])
@pytest.mark.parametrize("command", WRITES)
def test_root_follows_no_link_of_another_user(
    place: Path, command: str, trap: Callable[[Path, Path], None]
) -> None:
    """Nothing appears, changes or goes where the link leads, which only root may write."""
    folder, etc = place / "d" / "m", place / "etc"
    folder.mkdir(parents=True)
    fill(folder)
    give(folder.parent)
    trap(folder, etc)
    before = tree(etc)
    call(command, place)
    assert tree(etc) == before
    assert os.getresuid() == (0, 0, 0)


def tree(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Owner, mode and bytes of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        raw = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_uid, status.st_mode, raw)
    return found
