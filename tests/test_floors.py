"""Imports run down the floors of pyproject.toml only, and never past the face of a room."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[1] / "edge_agent"

PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))
FLOORS: list[list[str]] = PROJECT["tool"]["edge-agent"]["floors"]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def module_name(file: Path, root: Path) -> str:
    parts = ("edge_agent", *file.relative_to(root).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imported(tree: ast.AST, modules: set[str]) -> Iterator[tuple[int, str]]:
    """Every module of the package that the code names in an import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield node.lineno, full if full in modules else base
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            yield from ((node.lineno, str(text)) for text in texts)


def room_of(module: str) -> str:
    return module.partition(".")[2].partition(".")[0]


def is_face(target: str) -> bool:
    """Whether other rooms may import a module: a package, a lone file, or named in `__all__`."""
    file = PACKAGE.joinpath(*target.split(".")[1:])
    room, _, name = target.rpartition(".")
    if file.is_dir() or room == "edge_agent":
        return True
    return name in exported(PACKAGE.joinpath(*room.split(".")[1:]) / "__init__.py")


def exported(file: Path) -> list[str]:
    """The `__all__` of a package."""
    for node in ast.parse(file.read_text("utf-8")).body if file.is_file() else ():
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return []


def fault(importer: str, target: str) -> str | None:
    """Why `importer` may not import `target`; None where it may."""
    if target.startswith("."):
        return "a relative import"
    here, there = room_of(importer), room_of(target)
    if target.partition(".")[0] != "edge_agent" or here == there:
        return None
    if unknown := {here, there} - FLOOR_OF.keys():
        return f"a room without a floor: {unknown}"
    if not is_face(target):
        return "past the face of a room"
    if FLOOR_OF[here] >= FLOOR_OF[there]:
        return "an arrow that does not run down"
    return None


def faults(root: Path) -> list[str]:
    files = {module_name(file, root): file for file in sorted(root.rglob("*.py"))}
    return [
        f"{file.relative_to(root.parent)}:{line}: {module} imports {target}: {why}"
        for module, file in files.items()
        for line, target in imported(ast.parse(file.read_text("utf-8")), set(files))
        if (why := fault(module, target))
    ]


def test_every_arrow_runs_down() -> None:
    assert faults(PACKAGE) == []


def circles(root: Path) -> list[str]:
    """The modules that reach themselves through imports, by room; faces do not count."""
    files = {module_name(file, root): file for file in sorted(root.rglob("*.py"))}
    packages = {name for name, file in files.items() if file.name == "__init__.py"}
    arrows = {
        name: {
            target
            for _, target in imported(ast.parse(file.read_text("utf-8")), set(files))
            if target in files.keys() - packages
        }
        for name, file in files.items()
        if name not in packages
    }
    return sorted(name for name in arrows if name in reached(arrows, name))


def reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    """All modules that `start` imports, or that those import."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_no_room_has_a_circle() -> None:
    """A module that reaches itself cannot be read, or tested, without all the others."""
    assert circles(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("config/a.py", "from edge_agent.store import Store"),
        ("config/a.py", "if TYPE_CHECKING:\n    from edge_agent import daemon"),
        ("sources/a.py", "def f():\n    import edge_agent.sinks.mqtt"),
        ("sources/a.py", "import importlib\nimportlib.import_module('edge_agent.cli')"),
        ("clock.py", "from edge_agent.errors import EdgeAgentError"),
        ("ops/a.py", "from edge_agent.store import Store"),
        ("daemon.py", "from edge_agent.config.yaml_reader import parse"),
        ("sources/a.py", "from .b import c"),
        ("attic/a.py", "from edge_agent import errors"),
    ],
)
def test_a_wrong_arrow_is_found(tmp_path: Path, file: str, code: str) -> None:
    """The test above is able to fail, for each way in which an import can be wrong."""
    root = tmp_path / "edge_agent"
    (root / "daemon.py").parent.mkdir(parents=True)
    (root / "daemon.py").write_text("")
    (root / file).parent.mkdir(exist_ok=True)
    (root / file).write_text(code)
    assert len(faults(root)) == 1


def test_no_arrow_leads_from_language_to_what_can_act() -> None:
    """A question or a manual can cause nothing but an answer: no command, sink or source."""
    files = {module_name(file, PACKAGE): file for file in sorted(PACKAGE.rglob("*.py"))}
    arrows = {
        name: {
            target
            for _, target in imported(ast.parse(file.read_text("utf-8")), set(files))
            if target in files
        }
        for name, file in files.items()
    }
    mine = [name for name in files if room_of(name) == "language"]
    found = {room_of(target) for name in mine for target in reached(arrows, name)}
    assert "alarms" in found
    assert not found & {"sinks", "sources", "delivery", "service", "daemon", "cli", "serving"}
