"""The sentence of a language model in the demo: the model that is found, and what it says."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from text_support import fake_server, foreign, local, texts

from edge_agent.config.language import EngineKind, Language
from edge_agent.demo import speech
from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.integration
@pytest.mark.slow
async def test_the_model_of_the_package_says_a_sentence(
    text_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the section that the demo writes; the line says what it is."""
    monkeypatch.syspath_prepend(str(text_model.parents[1]))
    monkeypatch.delitem(sys.modules, speech.PACKAGE, raising=False)
    found = speech.find_model()
    assert found == text_model
    section = yaml.safe_load(speech.language_section(found))["language"]
    kind = EngineKind(section.pop("engine"))
    assert not list(Language(kind, **section | {"model": found}).problems())
    async with texts(local(sha256=section["sha256"])) as here:
        line = await speech.sentence(here.url)
    assert re.fullmatch(r"«.+» \(SmolLM2, a proof of the engine .+ \d+ tokens/s\)", line)


async def test_a_model_that_says_nothing_ends_the_demo() -> None:
    """It is a failure, not an empty line."""
    async with (
        fake_server(said=["", " "]) as fake,
        texts(foreign(fake.url, name="smollm2")) as here,
    ):
        with pytest.raises(EdgeAgentError, match="said nothing"):
            await speech.sentence(here.url)
