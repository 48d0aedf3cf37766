"""How well a model that learned good pictures alone finds defects: a table over many surfaces.

    scripts/surfaces                      # kinds that the defaults were not chosen on
    scripts/surfaces --kinds tuned        # those that they were chosen on
    scripts/surfaces --kinds real         # brick, grass and gravel of scikit-image, drawn defects
    scripts/surfaces --kinds elpv         # ELPV solar cells: pip install elpv-dataset
    scripts/surfaces --kinds wood,cap --pictures 200 --seed 7

Each surface is learned from good pictures and judged on other good ones and on ones with defects,
by the graph of the bundle. AUROC; share of defects found at 5 % false alarms; at the bundle's own
threshold the false alarms and the defects found.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.learning.pictures import FALSE_ALARMS
from edge_agent.learning.pictures.fit import fit
from edge_agent.learning.pictures.graph import anomaly_graph
from edge_agent.models import open_session
from edge_agent.signals import to_square
from scripts.rigs.surfaces import (
    JUDGED,
    JUDGED_DEFECTS,
    MISSING,
    OF_PARTS,
    TUNED,
    TUNED_DEFECTS,
    draw,
    draw_spoiled,
    spoil,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

SIDE: Final = 224
REAL: Final = ("brick", "grass", "gravel")
_GOOD, _BAD = 10_000, 20_000  # the first numbers of pictures that are judged
_ALLOWED: Final = 0.05
_RUNS: Final = 30
_FIELDS, _PIECE = 4, 96  # fields of a photograph a side, and pixels of a piece of one


@dataclass(frozen=True, slots=True)
class Surface:
    """Pictures [N, side, side, 3]: to learn, to judge, and with defects of these kinds."""

    name: str
    learned: Pixels
    good: Pixels
    bad: Pixels
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one surface; found: share of defects at 5 % false alarms, by kind."""

    name: str
    auroc: float
    found_at_5: float
    false_alarms: float
    found: float
    at_most: float
    learn_s: float
    graph_mb: float
    picture_ms: float
    by_kind: dict[str, float]


def drawn_surface(kind: str, seed: int, pictures: int, judged: int) -> Surface:
    """A drawn surface; of one that is made of parts, some defects are a missing one."""
    names = JUDGED_DEFECTS if kind in JUDGED else TUNED_DEFECTS
    names = (*names, MISSING) if kind in OF_PARTS else names
    kinds = tuple(names[n % len(names)] for n in range(judged))
    return Surface(
        kind,
        np.stack([draw(kind, seed, n) for n in range(pictures)]),
        np.stack([draw(kind, seed, _GOOD + n) for n in range(judged)]),
        np.stack([draw_spoiled(kind, seed, _BAD + n, each) for n, each in enumerate(kinds)]),
        kinds,
    )


def real_surface(name: str, seed: int, pictures: int, judged: int) -> Surface:
    """Pieces of a photograph of scikit-image: it has 16 fields, of which every other is learned."""
    from PIL import Image  # noqa: PLC0415 (with the extra `pictures`)

    photo = np.asarray(Image.open(_package("skimage") / "data" / f"{name}.png").convert("RGB"))
    random = np.random.default_rng(seed)
    field = len(photo) // _FIELDS

    def pieces(odd: int, count: int) -> Pixels:
        found = []
        for number in range(count):
            row = number // 2 % _FIELDS
            column = 2 * (number % 2) + (row + odd) % 2
            top, left = random.integers(0, field - _PIECE + 1, 2) + field * np.array([row, column])
            found.append(to_square(photo[top : top + _PIECE, left : left + _PIECE], SIDE))
        light = 1 + 0.04 * random.standard_normal((count, 1, 1, 1))
        return (np.stack(found) * light).clip(0, 255).astype(np.uint8)

    learned, good = pieces(0, pictures), pieces(1, judged)
    kinds = tuple(JUDGED_DEFECTS[n % len(JUDGED_DEFECTS)] for n in range(judged))
    bad = [
        spoil(picture, random, kind, is_object=False)
        for picture, kind in zip(pieces(1, judged), kinds, strict=True)
    ]
    return Surface(name, learned, good, np.stack(bad), kinds)


def elpv_surface(seed: int, pictures: int, judged: int) -> Surface:
    """ELPV (Deitsch et al. 2019; CC BY-NC-SA): sound cells are good, surely defective ones bad."""
    from PIL import Image  # noqa: PLC0415 (as above)

    folder = _package("elpv_dataset") / "data"
    lines = (folder / "labels.csv").read_text("utf-8").split("\n")
    rows = [line.split() for line in lines if line.strip()]
    random = np.random.default_rng(seed)
    sound = [row[0] for row in rows if float(row[1]) == 0]
    defective = [row[0] for row in rows if float(row[1]) == 1]

    def read(names: list[str]) -> Pixels:
        squares = [Image.open(folder / name).convert("RGB") for name in names]
        return np.stack([to_square(np.asarray(one), SIDE) for one in squares])

    random.shuffle(sound)
    random.shuffle(defective)
    kinds = ("defective",) * judged
    return Surface(
        "elpv",
        read(sound[:pictures]),
        read(sound[pictures : pictures + judged]),
        read(defective[:judged]),
        kinds,
    )


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or found.origin is None:
        sys.exit(f"{name} is missing: pip install --no-deps {name.replace('_', '-')} (see --help)")
    return Path(found.origin).parent


def judge(surface: Surface) -> Row:
    """Learn and judge one surface."""
    begun = time.perf_counter()
    fitted = fit(surface.learned, FALSE_ALARMS, lambda _share, _what: None)
    raw = anomaly_graph(fitted.head, SIDE)
    seconds = time.perf_counter() - begun
    session = open_session(raw)
    good, bad = scores(session, surface.good), scores(session, surface.bad)
    limit = float(np.quantile(good, 1 - _ALLOWED))
    kinds = np.array(surface.kinds)
    return Row(
        surface.name,
        auroc(good, bad),
        float((bad > limit).mean()),
        float((good >= 1).mean()),
        float((bad >= 1).mean()),
        fitted.limit.at_most,
        seconds,
        len(raw) / 1e6,
        1e3 * best_time(session, surface.good[:1]),
        {kind: float((bad[kinds == kind] > limit).mean()) for kind in dict.fromkeys(surface.kinds)},
    )


def scores(session: Any, pictures: Pixels) -> NDArray[np.float64]:  # noqa: ANN401 (untyped)
    """The scores of pictures, one by one."""
    found = [session.run(["score"], {"picture": each[None]})[0][0] for each in pictures]
    return np.array(found, float)


def best_time(session: Any, picture: Pixels) -> float:  # noqa: ANN401 (untyped)
    """Seconds of the best of some runs: other work on the machine can only make one longer."""
    times = []
    for _ in range(_RUNS):
        begun = time.perf_counter()
        session.run(None, {"picture": picture})
        times.append(time.perf_counter() - begun)
    return min(times)


def auroc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float:
    """The chance that a picture with a defect has the higher score."""
    return float((bad[:, None] > good).mean() + 0.5 * (bad[:, None] == good).mean())


def surfaces(args: argparse.Namespace) -> Iterator[Surface]:
    """The surfaces that were asked for, one at a time."""
    named = {"judged": JUDGED, "tuned": TUNED, "real": REAL, "elpv": ("elpv",)}
    for kind in named.get(args.kinds) or tuple(args.kinds.split(",")):
        if kind == "elpv":
            yield elpv_surface(args.seed, args.pictures, args.judged)
        elif kind in REAL:
            yield real_surface(kind, args.seed, args.pictures, args.judged)
        else:
            yield drawn_surface(kind, args.seed, args.pictures, args.judged)


def table_line(row: Row) -> str:
    """A row of the table in docs/cameras.md."""
    return (
        f"| {row.name} | {row.auroc:.3f} | {row.found_at_5:.0%} | {row.false_alarms:.1%} "
        f"(<= {row.at_most:.1%}) | {row.found:.0%} | {row.learn_s:.0f} | {row.graph_mb:.1f} "
        f"| {row.picture_ms:.1f} |"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", default="judged", help="judged, tuned, real, elpv, or names")
    parser.add_argument("--pictures", type=int, default=100, help="good ones to learn")
    parser.add_argument("--judged", type=int, default=72, help="good ones, and ones with defects")
    parser.add_argument("--seed", type=int, default=202)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    args = parser.parse_args()
    rows = []
    if not args.json:
        print("| surface | AUROC | found at 5 % | false alarms | found | s | MB | ms |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for surface in surfaces(args):
        rows.append(judge(surface))
        print(json.dumps(asdict(rows[-1])) if args.json else table_line(rows[-1]), flush=True)
        kinds = ", ".join(f"{kind} {share:.0%}" for kind, share in rows[-1].by_kind.items())
        print(f"{surface.name}: {kinds}", file=sys.stderr)
    mean = np.mean([(row.auroc, row.found_at_5, row.false_alarms) for row in rows], axis=0)
    if not args.json:
        print(f"mean: AUROC {mean[0]:.3f}, {mean[1]:.0%} at 5 %, false alarms {mean[2]:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
