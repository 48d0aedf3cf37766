"""Nodes that are asked for again, and what is said of them."""

from __future__ import annotations

import pytest

from edge_agent.sources.opcua.node_report import NodeReport, words
from edge_agent.sources.opcua.renew import NodeRetry, lasting
from edge_agent.status_codes import type_mismatch

GONE = 0x8034_0000


def test_a_trouble_is_looked_at_soon_and_then_ever_less() -> None:
    """A server that starts needs seconds to have its nodes; a wrong address lasts for days."""
    retry = NodeRetry(300, 0)
    due = [second for second in range(1000) if retry.is_due(second, is_any_missing=second >= 100)]
    assert due == [105, 115, 135, 175, 255, 415, 715]


def test_without_a_trouble_every_node_is_looked_at_now_and_then() -> None:
    retry = NodeRetry(300, 0)
    due = [second for second in range(1000) if retry.is_due(second, is_any_missing=False)]
    assert due == [300, 600, 900]


def test_a_node_of_another_type_is_not_asked_for_again() -> None:
    assert lasting({1: GONE, 2: type_mismatch(12)}) == [1]


def test_a_report_names_the_first_nodes_and_counts_the_rest() -> None:
    wrong = {f"P-{n}.Temp": GONE for n in range(5)}
    text = NodeReport(40, wrong).text()
    assert text.startswith("35 of 40 nodes: P-0.Temp does not exist (BadNodeIdUnknown); P-1")
    assert text.endswith("; 2 more")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0x801F_0000, "may not be read by this user (BadUserAccessDenied)"),
        (0x80DB_0000, "exceeds the number of nodes that the server monitors"),
        (type_mismatch(0x80), "is an array: not usable"),
        (type_mismatch(12), "is a String: not usable"),
        (0x8ABC_0000, "is refused (0x8ABC0000)"),
    ],
)
def test_a_code_is_told_in_words(code: int, said: str) -> None:
    assert words(code).startswith(said)
