"""Training and test parts of labelled pictures: whole products, each kind in its share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.factory.pictures.folders import Labelled


def drawn_test(
    pictures: Sequence[Labelled], share: float, random: np.random.Generator
) -> NDArray[np.bool_]:
    """True for the pictures [N] to judge by: as the table says, else drawn with its product."""
    told = {one.group: one.part for one in pictures if one.part}
    drawn: set[str] = {group for group, part in told.items() if part == "test"}
    for groups in _by_kind(pictures):
        free = [group for group in groups if group not in told]
        picked = random.permutation(len(free))[: round(share * len(free))]
        drawn |= {free[i] for i in picked.tolist()}
    return np.array([one.group in drawn for one in pictures])


def fold_of(
    pictures: Sequence[Labelled], folds: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """The fold of each picture [N]: products of a kind are spread evenly over the folds."""
    found: dict[str, int] = {}
    for groups in _by_kind(pictures):
        for i in random.permutation(len(groups)).tolist():
            found[groups[i]] = len(found) % folds
    return np.array([found[one.group] for one in pictures], np.int64)


def _by_kind(pictures: Sequence[Labelled]) -> list[list[str]]:
    """Products whose pictures have the same classes and strata, in a fixed order."""
    classes: dict[str, set[tuple[str, str]]] = {}
    for one in pictures:
        classes.setdefault(one.group, set()).add((one.label, one.stratum))
    kinds: dict[frozenset[tuple[str, str]], list[str]] = {}
    for group in sorted(classes):
        kinds.setdefault(frozenset(classes[group]), []).append(group)
    return [kinds[kind] for kind in sorted(kinds, key=sorted)]
