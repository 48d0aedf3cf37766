"""A verdict in a comment: what an OPC UA client writes who has no other way to say it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.alarms import MAX_PART, VERDICTS, Judgement, judgement_in


@pytest.mark.parametrize(
    ("comment", "verdict", "part"),
    [
        ("#false", "false", ""),
        ("#true bearing", "true", "bearing"),
        ("seen on site #True  drive end bearing: worn", "true", "drive end bearing"),
        ("#planned: filter change", "planned", ""),
        ("#123 #falsch, neues Öl", "false", ""),
        ("#真实 轴承", "true", "轴承"),
        ("#誤報", "false", ""),
        ("#geplant Pumpe\n#true", "planned", "Pumpe"),
    ],
)
def test_a_comment_says_what_the_alarm_was(comment: str, verdict: str, part: str) -> None:
    """The first word that is known counts, in any language of the alarm texts."""
    assert judgement_in(comment) == Judgement(verdict, part, comment)


@pytest.mark.parametrize("comment", ["", "false alarm", "a#false", "##true", "#falsehood", "# 1"])
def test_a_comment_without_a_verdict_says_nothing(comment: str) -> None:
    assert judgement_in(comment) is None


@given(st.text(max_size=200))
def test_any_text_is_a_bounded_verdict_or_none(text: str) -> None:
    """It comes from the network."""
    found = judgement_in(f"#true {text}")
    assert found is not None
    assert found.verdict in VERDICTS
    assert len(found.part) <= MAX_PART
    assert found.part.isprintable()
