"""docs/benchmarks.md: each section between two marks, so that one can be updated alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from scripts.model_bench.context import environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scripts.model_bench.table import Table

_HEAD: Final = """\
# Benchmarks of the models

Written by `scripts/benchmark-models --write-docs`; do not edit. Each figure is of the data and by
the command that stand beside it; several seeds stand as mean (least to most). Recordings are not
part of this project: README.md says where they are published.

`scripts/test --benchmarks`, the nightly run, fails if the learner's figures fall below the limits
in `tests/benchmarks`. It takes minutes and needs an idle machine: `scripts/test` leaves it out.
"""
_SECTION: Final = "<!-- section {name} -->\n{text}<!-- end {name} -->\n"


def write_docs(file: Path, found: Mapping[str, Sequence[Table]], order: Sequence[str]) -> None:
    """Replace these sections; the others stay."""
    old = file.read_text() if file.exists() else ""
    parts = [_HEAD]
    for name in order:
        if name in found:
            parts.append(_SECTION.format(name=name, text=_text(found[name])))
        elif kept := re.search(f"<!-- section {name} -->.*?<!-- end {name} -->\n", old, re.DOTALL):
            parts.append(kept.group())
    file.write_text("\n".join(parts))


def _text(tables: Sequence[Table]) -> str:
    here = environment()
    made = datetime.now(UTC).strftime("%Y-%m-%d")
    stamp = f"{made}, {here['cpu']} (VNNI: {here['vnni']}), onnxruntime {here['onnxruntime']}"
    return "\n".join([*(table.as_markdown() for table in tables), f"*{stamp}*", ""])
