"""The life of a version: one case for each state and event."""

# ruff: noqa: E501 (the table is read as a table)

from __future__ import annotations

import pytest

from edge_agent.serving.lifecycle import TRANSITIONS, Event, State, next_state

# Written from the figure in ARCHITECTURE and docs/models.md, not from the code. `-`: cannot happen.
EXPECTED = """
             refuse  activate warm_up stand_by shadow supersede fail    recover give_way save_rollback promote  reject   retire
loading      refused active   warming standby  shadow -         -       -       -        -             -        -        -
warming      -       active   -       -        -      -         -       -       -        -             -        -        retired
active       -       -        -       -        -      standby   failing active  failed   -             -        -        -
failing      -       -        -       -        -      standby   failing active  failed   -             -        -        -
standby      -       active   -       -        -      -         -       -       -        -             -        -        retired
failed       -       -        -       -        -      -         -       -       -        rolled_back   -        -        -
rolled_back  -       -        -       -        -      -         -       -       -        -             -        -        -
shadow       -       -        -       -        -      -         -       -       -        -             promoted rejected retired
promoted     -       -        -       -        -      -         -       -       -        -             -        -        -
rejected     -       -        -       -        -      -         -       -       -        -             -        -        retired
refused      -       -        -       -        -      -         -       -       -        -             -        -        -
retired      -       -        -       -        -      -         -       -       -        -             -        -        -
"""
HEAD, *ROWS = [line.split() for line in EXPECTED.strip().splitlines()]
CELLS = {(row[0], event): cell for row in ROWS for event, cell in zip(HEAD, row[1:], strict=True)}


@pytest.mark.parametrize(("state", "event"), CELLS, ids="-".join)
def test_every_cell_of_the_table(state: str, event: str) -> None:
    """What is not listed is a defect, and is said."""
    cell = CELLS[state, event]
    if cell == "-":
        with pytest.raises(ValueError, match=f"{state} cannot {event}"):
            next_state(State(state), Event(event))
    else:
        assert next_state(State(state), Event(event)) == cell


def test_the_table_above_names_every_state_and_event() -> None:
    assert {row[0] for row in ROWS} == set(State)
    assert set(HEAD) == set(Event)
    assert len(TRANSITIONS) == sum(cell != "-" for cell in CELLS.values())
