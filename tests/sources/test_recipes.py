"""Every recipe of docs/recipes.md: its config passes the check and reads its message."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import yaml

from edge_agent import config as loader
from edge_agent.ops.metrics import Metrics
from edge_agent.plant import Plant
from edge_agent.signals.scaling import Scaling
from edge_agent.sources import SOURCES
from edge_agent.sources.mqtt.decode import Decoder
from edge_agent.sources.mqtt.hints import KNOWN, recipe_of
from edge_agent.sources.mqtt.paho_client import Messages
from edge_agent.sources.mqtt.refusals import Refusals
from edge_agent.sources.mqtt.routes import Routes
from edge_agent.status_codes import Severity, severity_of
from edge_agent.testing import ListIntake

if TYPE_CHECKING:
    from collections.abc import Iterator

DOC = Path(__file__).parents[2] / "docs" / "recipes.md"
NOW_US = 1_767_225_660_000_000
_RECIPE = re.compile(
    r"^## (?P<name>[^\n]+)\n(?:(?!^## ).)*?```yaml\n(?P<config>.*?)```\s*"
    r"A message on `(?P<topic>[^`]+)`:\s*```\w+\n(?P<payload>.*?)```\s*gives (?P<gives>[^\n]+)",
    re.MULTILINE | re.DOTALL,
)


class Recipe(NamedTuple):
    name: str
    config: str
    topic: str
    payload: str
    gives: str


RECIPES = [Recipe(*found) for found in _RECIPE.findall(DOC.read_text())]


def load(folder: Path, recipe: dict[str, Any]) -> Any:
    """The recipe as a whole config; it must pass the check."""
    whole = {
        "sources": {
            "bus": {"type": "mqtt", "url": "mqtt://broker", "subscribe": recipe["subscribe"]}
        },
        "templates": recipe["templates"],
        "assets": recipe.get("assets", {}),
    }
    file = folder / "edge-agent.yaml"
    file.write_text(yaml.safe_dump(whole, allow_unicode=True))
    structs = {name: row.config for name, row in SOURCES.items()}
    config, problems = loader.find_problems(file, sources=structs, sinks={})
    assert problems == []
    return config


class Reader:
    """A decoder of a config's source, and what it gives in the units of the signals."""

    def __init__(self, config: Any) -> None:
        self.plant, self.metrics = Plant(config), Metrics()
        self.intake = ListIntake()
        refusals = Refusals("bus", self.metrics)
        bus = config.sources["bus"]
        routes = Routes("bus", bus.subscribe, self.plant, self.metrics, refusals)
        received = self.metrics.values_received.labels("bus")
        self.decoder = Decoder(routes, refusals, self.intake, received)

    def read(self, topic: str, payload: bytes) -> dict[str, str | float]:
        """By signal its number, or `bad`, or `uncertain`."""
        self.intake.packets.clear()
        self.decoder.decode_messages(Messages([topic.encode()], [payload]), NOW_US)
        return dict(self._rows())

    def _rows(self) -> Iterator[tuple[str, str | float]]:
        if not self.intake.packets:
            return
        scaling = Scaling()
        for signal in self.plant.signals:
            scaling.add(signal.config)
        values = scaling.scale_values(self.intake.columns)
        severity = severity_of(values.status)
        for n, signal in enumerate(values.signal.tolist()):
            one = self.plant.signals[signal]
            number = float(values.value[n])
            bad = severity[n] == Severity.BAD or np.isnan(number)
            word = "uncertain" if severity[n] == Severity.UNCERTAIN else ""
            yield f"{one.asset.id}.{one.name}", "bad" if bad else word or number


def expected(gives: str) -> dict[str, str | float]:
    found = re.findall(r"`([^`]+)` = ([\w.-]+)", gives)
    return {name: text if text.isalpha() else float(text) for name, text in found}


def test_the_document_has_a_recipe_for_each_usual_gateway() -> None:
    """A section with a config that the pattern above does not find would be tested by nobody."""
    text = DOC.read_text()
    of_their_own = text.count("```yaml\nsources:")  # Sparkplug B: see test_sparkplug.py
    assert len(RECIPES) + of_their_own == text.count("```yaml") >= 20


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])
def test_a_recipe_reads_its_message(recipe: Recipe, tmp_path: Path) -> None:
    """The first message and the next ones, which may go a faster way."""
    reader = Reader(load(tmp_path, yaml.safe_load(recipe.config)))
    for _ in range(3):
        got = reader.read(recipe.topic, recipe.payload.strip().encode())
        wanted = expected(recipe.gives)
        assert got == {
            name: value if isinstance(value, str) else pytest.approx(value)
            for name, value in wanted.items()
        }


def hinted() -> Iterator[tuple[Recipe, str]]:
    """The recipes whose messages the log knows, and the `payload:` that it proposes for them."""
    for recipe in RECIPES:
        with contextlib.suppress(ValueError):
            found = recipe_of(json.loads(recipe.payload))
            if found is not None:
                yield recipe, found[1]


def test_every_gateway_that_the_log_knows_has_a_recipe() -> None:
    assert {payload for _, payload in hinted()} == {payload for _, _, payload in KNOWN}


@pytest.mark.parametrize(("recipe", "payload"), [*hinted()], ids=[r.name for r, _ in hinted()])
def test_what_the_log_proposes_reads_the_message(
    recipe: Recipe, payload: str, tmp_path: Path
) -> None:
    config = yaml.safe_load(recipe.config)
    own = config["subscribe"][0]["payload"]
    kept = {"asset": own["asset"]} if "asset" in own else {}
    config["subscribe"][0]["payload"] = {**kept, **yaml.safe_load(payload)}
    got = Reader(load(tmp_path, config)).read(recipe.topic, recipe.payload.strip().encode())
    assert got == expected(recipe.gives)
