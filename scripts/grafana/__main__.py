"""Write the dashboards, or check that the committed files are those of the tables.

scripts/dashboards           # writes deploy/grafana/dashboards/*.json
scripts/dashboards --check   # says which files differ, and ends with 1
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from scripts.grafana.boards import BOARDS
from scripts.grafana.panels import to_json
from scripts.rigs import ROOT

FOLDER: Final = ROOT / "deploy" / "grafana" / "dashboards"


def files() -> dict[str, str]:
    """The text of every file, by name."""
    return {
        f"{board.uid}.json": json.dumps(to_json(board, BOARDS), indent=1, ensure_ascii=False) + "\n"
        for board in BOARDS
    }


def differing() -> list[str]:
    """Names of files that are missing, old, or of no board."""
    wanted = files()
    there = {file.name: file.read_text("utf-8") for file in FOLDER.glob("*.json")}
    return sorted(name for name in wanted | there if wanted.get(name) != there.get(name))


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    if parser.parse_args().check:
        found = differing()
        for name in found:
            print(f"{FOLDER / name}: not what scripts/dashboards writes; run it", file=sys.stderr)
        return bool(found)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
