"""States for a drawing that cannot show all of them."""

from __future__ import annotations

from edge_agent.insight import thinned


def test_few_stays_stay_as_they_are() -> None:
    stays = [("running", 0, 50), ("down", 50, 100)]
    assert thinned(stays, 0, 100, 10) == stays
    assert thinned(stays, 0, 100, 0) == stays


def test_of_many_the_longest_of_each_part_is_shown() -> None:
    """Eight of ten in running: the short stops vanish, a long one does not; nothing is before."""
    stays = [
        stay
        for at in range(1000, 9000, 10)
        for stay in (("running", at, at + 8), ("idle", at + 8, at + 10))
    ]
    stays = [one for one in stays if not 4000 <= one[1] < 5000]
    stays = sorted([*stays, ("down", 4000, 5000)], key=lambda one: one[1])
    found = thinned(stays, 0, 10_000, 100)
    assert found == [
        *(("running", 1000, 4000), ("down", 4000, 5000), ("running", 5000, 9000)),
    ]
