"""The section `language`: what an engine needs, and what has no effect with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_agent.config.language import EngineKind, Language

LOCAL: dict[str, Any] = {
    "engine": EngineKind.LLAMA_CPP,
    "model": Path("m.gguf"),
    "sha256": "a" * 64,
}
SERVER: dict[str, Any] = {"engine": EngineKind.OPENAI, "url": "http://gpu:8000", "name": "big"}


@pytest.mark.parametrize("right", [LOCAL, SERVER, {}, {"engine": EngineKind.ASSISTANT}])
def test_a_right_section_has_no_problem(right: dict[str, Any]) -> None:
    assert list(Language(**right).problems()) == []


def test_a_section_that_is_off_may_keep_its_keys() -> None:
    assert list(Language(**LOCAL | {"engine": EngineKind.NONE, "url": "http://x"}).problems()) == []


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        (LOCAL | {"sha256": ""}, "sha256"),
        (LOCAL | {"sha256": "abc"}, "sha256"),
        (LOCAL | {"model": None}, "model"),
        (LOCAL | {"url": "http://x"}, "url"),
        (LOCAL | {"name": "edge-agent"}, "name"),
        (SERVER | {"name": ""}, "name"),
        (SERVER | {"url": "gpu:8000"}, "url"),
        (SERVER | {"sha256": "a" * 64}, "sha256"),
        ({"engine": EngineKind.ASSISTANT, "wording": True}, "wording"),
    ],
)
def test_a_wrong_key_is_named(wrong: dict[str, Any], key: str) -> None:
    assert key in [found for found, _ in Language(**wrong).problems()]


def test_the_name_of_a_file_is_that_of_its_model() -> None:
    """Unless another one is given."""
    assert Language(**LOCAL).shown_name == "m"
    assert Language(**LOCAL, name="x").shown_name == "x"
