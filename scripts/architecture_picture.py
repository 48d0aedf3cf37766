"""Draw docs/architecture.svg: the rooms of `edge_agent` by floor, and their imports.

    scripts/architecture-picture            # write it
    scripts/architecture-picture --check    # exit code 1 if it is not current

Rooms are the folders and modules of the package; their floors are `floors` of `[tool.edge-agent]`
in pyproject.toml, which tests/test_floors.py also reads. An arrow is an import of any
module, also within a function. Not drawn are imports that a path of other arrows implies, and
those of the ground floor, which is open to all rooms.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tomllib
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

from scripts.rigs import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = ROOT / "edge_agent"
PICTURE = ROOT / "docs" / "architecture.svg"

MARGIN, GAP, BOX, FLOOR, LETTER = 32, 28, 30, 68, 7.7  # px
SWEEPS = 24
STYLE = """
text { font: 13px ui-monospace, Menlo, Consolas, monospace; fill: #1f2328; text-anchor: middle }
.note { font-size: 11px }
rect { fill: #eef3fb; stroke: #4a6fa5 }
.ground { fill: none; stroke: #8b949e; stroke-dasharray: 4 3 }
path { fill: none; stroke: #6e7781; stroke-width: 1.1 }
marker path { fill: #6e7781; stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } rect { fill: #1c2736; stroke: #6e9bd8 } .ground { fill: none }
  path { stroke: #8b949e } marker path { fill: #8b949e }
}"""

TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"'
    ' orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker>'
)
Arrow = tuple[str, str]
Row = list[str]


def main() -> int:
    """Write the picture, or compare it."""
    parser = argparse.ArgumentParser(
        prog="scripts/architecture-picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    text = picture(project["tool"]["edge-agent"]["floors"], arrows_of(PACKAGE))
    if not args.check:
        PICTURE.write_text(text, "utf-8")
    elif not PICTURE.exists() or PICTURE.read_text("utf-8") != text:
        print(f"{PICTURE.relative_to(ROOT)} is not current: scripts/architecture-picture")
        return 1
    return 0


def arrows_of(package: Path) -> set[Arrow]:
    """(importing room, imported room) of the whole package."""
    rooms = {path.stem for path in package.iterdir()}
    found = set()
    for file in package.rglob("*.py"):
        room = file.relative_to(package).parts[0].removesuffix(".py")
        for name in imported(ast.parse(file.read_text("utf-8"))):
            there = name.split(".")[1:2]
            if name.split(".")[0] == package.name and there and there[0] in rooms - {room}:
                found.add((room, there[0]))
    return found


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of an import, with the names that it imports from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reduced(arrows: set[Arrow]) -> list[Arrow]:
    """The arrows without those that others imply; there are no cycles."""
    below: dict[str, set[str]] = {}
    for here, there in arrows:
        below.setdefault(here, set()).add(there)

    def reached(room: str) -> set[str]:
        return below.get(room, set()).union(*map(reached, below.get(room, ())))

    return sorted(
        (here, there)
        for here, there in arrows
        if not any(there in reached(other) for other in below[here] - {there})
    )


def picture(floors: list[list[str]], arrows: set[Arrow]) -> str:
    """The SVG."""
    *rows, ground = [row for floor in floors if (row := sorted(room for room in floor if room))]
    level = {room: n for n, row in enumerate(rows) for room in row}
    wrong = len(floors)
    down = {one for one in arrows if level.get(one[0], wrong) < level.get(one[1], -1)}
    chains = [add_corners(rows, arrow) for arrow in reduced(down)]
    for sweep in range(SWEEPS):
        order(rows, chains, down=sweep % 2 == 0)
    x = settled([*rows, ground], chains)
    y = {name: FLOOR * n + MARGIN for n, row in enumerate([*rows, ground]) for name in row}
    right = max(x[name] + width(name) / 2 for name in x) + MARGIN
    top = y[ground[0]] - 12
    size = f'width="{right:.0f}" height="{top + 88}"'
    lines = [
        f'<svg {size} viewBox="0 0 {right:.0f} {top + 88}" xmlns="http://www.w3.org/2000/svg">',
        "<title>The rooms of edge_agent by floor, and their imports</title>",
        f"<style>{STYLE}\n</style>",
        TIP,
        *(curve(chain, x, y) for chain in chains),
        f'<rect class="ground" x="8" y="{top}" width="{right - 16:.0f}" height="72" rx="5"/>',
        f'<text class="note" x="{right / 2:.0f}" y="{top + 62}">imported by all floors</text>',
        *(box(room, x[room], y[room]) for room in sorted({*level, *ground})),
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def add_corners(rows: list[Row], arrow: Arrow) -> list[str]:
    """Add the arrow's path: its ends, and its own corner on each floor that it passes."""
    first, last = (next(n for n, row in enumerate(rows) if room in row) for room in arrow)
    corners = [f"{arrow[0]}>{arrow[1]}>{n}" for n in range(first + 1, last)]
    for n, corner in enumerate(corners, first + 1):
        rows[n].append(corner)
    return [arrow[0], *corners, arrow[1]]


def neighbours(chains: list[list[str]], *, down: bool) -> dict[str, list[str]]:
    """By name, the sources of its arrows, or their targets."""
    near: dict[str, list[str]] = {}
    for upper, lower in (pair for chain in chains for pair in pairwise(chain)):
        here, there = (lower, upper) if down else (upper, lower)
        near.setdefault(here, []).append(there)
    return near


def order(rows: list[Row], chains: list[list[str]], *, down: bool) -> None:
    """Sort each row by the mean rank of its neighbours in the row before it."""
    near = neighbours(chains, down=down)
    for row in rows if down else reversed(rows):
        rank = {name: (n + 0.5) / len(each) for each in rows for n, name in enumerate(each)}
        row.sort(key=lambda name: (fmean(rank[one] for one in near.get(name, [name])), name))


def settled(rows: list[Row], chains: list[list[str]]) -> dict[str, float]:
    """The middle of each box or corner: near its neighbours, without overlap."""
    x: dict[str, float] = {name: 0 for row in rows for name in row}
    above, below = neighbours(chains, down=True), neighbours(chains, down=False)
    for _ in range(SWEEPS):
        for row in rows:
            near = [above.get(name, []) + below.get(name, []) or [name] for name in row]
            wish = [fmean(x[one] for one in names) for names in near]
            right = pushed(row, wish)
            left = pushed(row[::-1], [-one for one in wish[::-1]])[::-1]
            x |= zip(row, ((a - b) / 2 for a, b in zip(right, left, strict=True)), strict=True)
    least = min(x[name] - width(name) / 2 for name in x)
    return {name: one - least + MARGIN for name, one in x.items()}


def pushed(row: Row, wish: list[float]) -> list[float]:
    """The wanted positions, each moved to the right until it does not overlap the previous one."""
    found, edge = [], float("-inf")
    for name, one in zip(row, wish, strict=True):
        found.append(max(one, edge + GAP + width(name) / 2))
        edge = found[-1] + width(name) / 2
    return found


def width(name: str) -> float:
    """The width of a box; 0 for a corner."""
    return 0 if ">" in name else LETTER * len(name) + 24


def box(room: str, x: float, y: float) -> str:
    """The SVG of a room and its name."""
    return (
        f'<rect x="{x - width(room) / 2:.0f}" y="{y}" width="{width(room):.0f}" height="{BOX}"'
        f' rx="5"/><text x="{x:.0f}" y="{y + 20}">{room}</text>'
    )


def curve(chain: list[str], x: dict[str, float], y: dict[str, int]) -> str:
    """The SVG of an arrow from the bottom of its first room to the top of its last one."""
    text, at = f"M{x[chain[0]]:.0f} {y[chain[0]] + BOX}", y[chain[0]] + BOX
    for name in chain[1:]:
        middle, before = (at + y[name]) / 2, x[chain[chain.index(name) - 1]]
        text += f" C{before:.0f} {middle:.0f} {x[name]:.0f} {middle:.0f} {x[name]:.0f} {y[name]}"
        at = y[name] + BOX
        if name != chain[-1]:
            text += f" V{at}"
    return f'<path d="{text}" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    sys.exit(main())
