"""Solar cells with labels: `edge-agent train` on the ELPV data set, by its published kind of split.

2,624 cells of 300 x 300 pixels, mono- and polycrystalline, each with the probability of a defect
that a person gave: 0, 1/3, 2/3 or 1 (Deitsch et al., Solar Energy 185, 2019; they publish 82.44 %
for an SVM and 88.42 % for a CNN). Three quarters are for training, the cells of each kind and
probability in the same share, drawn anew by every seed. A cell is defective from a probability of
1/2 on; labels that the person was not sure of count a third in training.

    scripts/elpv                  # the table, seeds 1 to 3
    scripts/elpv --seeds 5 --json
    scripts/elpv --fine-tune 30 --symmetry all    # with torch; minutes on a GPU, hours without

The package elpv-dataset is fetched into ~/.cache/edge-agent/elpv (91 MB; CC BY-NC-SA 4.0). Nothing
that is trained on it leaves the work folder there.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.factory.pictures.build import Classifier
from edge_agent.factory.pictures.folders import load_recipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.factory.pictures.build import Made

PACKAGE: Final = "elpv-dataset==1.0.0.post1"
CACHE: Final = Path.home() / ".cache" / "edge-agent" / "elpv"
UNSURE_WEIGHT: Final = 0.34
RECIPE: Final = """\
name: elpv
kind: pictures
table: table.csv
healthy: functional
size: {size}
symmetry: {symmetry}
fine_tune: {fine_tune}
test: 0.25
"""


def main() -> int:
    """Print the table."""
    arguments = parse_arguments()
    folder = fetched(arguments.cache)
    cells = read_cells(folder)
    spec = load_recipe(write_recipe(folder, cells, arguments))
    work = arguments.cache / "work"
    classifier = Classifier(spec, folder, work, lambda line: print(line, file=sys.stderr))
    kinds = {file: (float(p), kind) for file, p, kind in cells}
    known = [kinds[one.file.relative_to(folder).as_posix()] for one in classifier.pictures]
    probability = np.array([p for p, _ in known])
    mono = np.array([kind == "mono" for _, kind in known])
    rows = []
    for seed in range(1, arguments.seeds + 1):
        begin = time.monotonic()
        made = classifier.make(seed, counted)
        print(f"seed {seed}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        for graph in ("teacher", "fp32", "int8"):
            row = shares(made, graph, probability, mono)
            rows.append({"seed": seed, "graph": graph, **row})
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(rows) if arguments.json else as_text(rows))
    return 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/elpv", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seeds", type=int, default=3, help="splits (default: %(default)s)")
    parser.add_argument("--size", type=int, default=288, help="pixels (default: %(default)s)")
    parser.add_argument("--symmetry", default="flips", help="default: %(default)s")
    parser.add_argument("--fine-tune", type=int, default=0, help="passes (default: none)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="default: %(default)s")
    return parser.parse_args()


def fetched(cache: Path) -> Path:
    """The folder of the data; fetched by pip and unpacked once."""
    folder = cache / "elpv_dataset" / "data"
    if not (folder / "labels.csv").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        words = ["-m", "pip", "download", "-q", "--no-deps", "-d", str(cache), PACKAGE]
        subprocess.run([sys.executable, *words], check=True, timeout=600)
        (wheel,) = cache.glob("elpv_dataset-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(cache)
        wheel.unlink()
    return folder


def read_cells(folder: Path) -> list[tuple[str, str, str]]:
    """File, probability of a defect, and mono or poly, of each cell."""
    lines = (folder / "labels.csv").read_text().splitlines()
    return [(file, p, kind) for file, p, kind in (line.split() for line in lines if line.strip())]


def write_recipe(
    folder: Path, cells: Sequence[tuple[str, str, str]], arguments: argparse.Namespace
) -> Path:
    """The table that a recipe reads, and the recipe."""
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "stratum", "weight"))
        for name, p, kind in cells:
            label = "defective" if float(p) >= 1 / 2 else "functional"
            weight = 1.0 if float(p) in {0.0, 1.0} else UNSURE_WEIGHT
            writer.writerow((name, label, f"{kind} {p}", weight))
    recipe = folder / "elpv.yaml"
    recipe.write_text(RECIPE.format(**vars(arguments)))
    return recipe


def shares(
    made: Made, graph: str, probability: NDArray[np.float64], mono: NDArray[np.bool_]
) -> dict[str, float]:
    """Shares of right answers on the test part, in percent, by what counts as right."""
    p, mono = probability[made.test], mono[made.test]
    answer = made.answers[graph].argmax(axis=1)
    right = answer == (p >= 1 / 2)
    sure = (p == 0) | (p == 1)
    # Whoever is not sure says "defective", and the cell counts by the probability.
    weight = np.where(p == 0, 1.0, p)
    weighted = float((weight * (answer == (p > 0))).sum() / weight.sum())
    found = {
        "all": right.mean(),
        "weighted": weighted,
        "sure_labels": right[sure].mean(),
        "mono": right[mono].mean(),
        "poly": right[~mono].mean(),
        "not_sure": made.figures[graph].not_sure,
        "when_sure": made.figures[graph].accuracy_when_sure,
    }
    return {name: round(100 * float(value), 2) for name, value in found.items()}


def counted(steps: Iterable[Any], text: str) -> Iterator[Any]:
    """A line every hundred steps."""
    for number, step in enumerate(steps):
        if number % 100 == 0 and number:
            print(f"{text}: {number}", file=sys.stderr, flush=True)
        yield step


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds, in percent."""
    names = [name for name in rows[0] if name not in {"seed", "graph"}]
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for graph in dict.fromkeys(row["graph"] for row in rows):
        mine = [row for row in rows if row["graph"] == graph]
        cells = [[row[name] for row in mine] for name in names]
        shown = [f"{np.mean(one):.2f} ± {np.std(one):.2f}" for one in cells]
        lines.append(f"| {graph} | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
