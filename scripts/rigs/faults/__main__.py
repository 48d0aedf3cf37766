"""Run the promises of docs/reliability.md and docs/security.md, each with its negative control.

    scripts/faults --list                         # what there is, and what is missing here
    scripts/faults --only 1,5 power-cut           # by number or name
    scripts/faults --json docs/faults.json        # all, for hours; merged into the file
    scripts/faults --quick                        # the selection of CI, in short forms
    scripts/faults --write-docs                   # the tables of docs/ from docs/faults.json

A promise is held if its tests and its rig pass, and the same steps fail with the protection
switched off. What cannot run here is "not run", never held. Exit code: 0 nothing is broken,
1 something is, 2 there is no such promise.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scripts.rigs.faults import report
from scripts.rigs.faults.promises import Run
from scripts.rigs.faults.runner import BROKEN, HELD, NOT_RUN, examine
from scripts.rigs.faults.table import PROMISES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scripts.rigs.faults.promises import Promise
    from scripts.rigs.faults.runner import Result

HEAD: Final = (
    "| promise | what | held by | figure | control | verdict |\n"
    "| --- | --- | --- | --- | --- | --- |"
)
_TELL_EVERY_S: Final = 10.0  # where progress is not a terminal


def main() -> int:
    """Run the selected promises, and print a row when each has ended."""
    args = _arguments()
    wanted = [word for words in args.only for word in words.split(",") if word]
    selected = select(wanted, quick=args.quick)
    if not selected:
        print(f"no such promise: {' '.join(wanted)}; see --list", file=sys.stderr)
        return 2
    if args.list:
        print(*map(_listed, selected), sep="\n")
        return 0
    if args.write_docs:
        return write_docs()
    print(HEAD, flush=True)
    results: list[Result] = []
    try:
        for number, one in enumerate(selected, 1):
            tell = teller(f"[{number}/{len(selected)}] {one.name}: ")
            run = Run(Path(), quick=args.quick, protected=True, tell=tell, seconds=args.seconds)
            results.append(examine(one, run))
            tell("")
            print(report.text_of(results[-1]), flush=True)
            if args.json:
                report.save(args.json, results[-1:], quick=args.quick)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    counts = {word: sum(one.verdict == word for one in results) for word in (HELD, BROKEN, NOT_RUN)}
    print(f"\n{', '.join(f'{count} {word}' for word, count in counts.items())}")
    return 1 if counts[BROKEN] or len(results) < len(selected) else 0


def select(wanted: Sequence[str], *, quick: bool) -> list[Promise]:
    """The promises with these numbers or names, or all (quick: of CI); empty if one is unknown."""
    known = {str(one.number) for one in PROMISES} | {one.name for one in PROMISES}
    if set(wanted) - known:
        return []
    return [
        one
        for one in PROMISES
        if {str(one.number), one.name} & set(wanted) or (not wanted and (one.quick or not quick))
    ]


def write_docs() -> int:
    """Write the tables of the pages."""
    for page in sorted({one.page for one in PROMISES}):
        file = report.page_of(page)
        mine = [one for one in PROMISES if one.page == page]
        file.write_text(report.with_table(file.read_text(), mine, report.load()))
    return 0


def teller(head: str) -> Callable[[str], None]:
    """Show progress on stderr: in place on a terminal, else a line every ten seconds."""
    told_s = 0.0

    def tell(text: str) -> None:
        nonlocal told_s
        if sys.stderr.isatty():
            print(f"\r\x1b[K{head + text if text else ''}", end="", file=sys.stderr, flush=True)
        elif text and time.monotonic() - told_s > _TELL_EVERY_S:
            told_s = time.monotonic()
            print(head + text, file=sys.stderr, flush=True)

    return tell


def _listed(one: Promise) -> str:
    missing = [
        f"{need.name} is missing ({need.install})" for need in one.needs if not need.is_there()
    ]
    notes = [*missing, *([one.unmeasured] if one.unmeasured else [])]
    return f"{one.number:>2} {one.name:<20} {one.title}" + "".join(f"\n{'':24}{n}" for n in notes)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="PROMISE", help="numbers, names")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="merge the results into this file"
    )
    parser.add_argument("--list", action="store_true", help="list the promises; run nothing")
    parser.add_argument(
        "--quick", action="store_true", help="short forms; without --only the selection of CI"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.0,
        metavar="N",
        help="instead of the time of a long rig (soak: 2 h; fuzz: 10 min for each decoder)",
    )
    parser.add_argument("--write-docs", action="store_true", help="update docs/; run nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
