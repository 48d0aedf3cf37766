"""`doctor`, `browse` and `listen` for the page: which command runs, and what is made of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from edge_agent.daemon.gateway_checks import MAX_TAGS, GatewayChecks
from edge_agent.errors import EdgeAgentError, NotFoundError
from edge_agent.service import TagQuestion
from edge_agent.service.side_command import Ended
from edge_agent.sources import ReplayConfig
from edge_agent.sources.mqtt import MqttSourceConfig
from edge_agent.sources.opcua import OpcUaSourceConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

NODE = {"address": "ns=2;s=F", "path": ["L", "Flow"], "type": "Double", "array": True}
NODE |= {"value": "[1, 2]", "unit": "bar", "status": "Good", "low": 0.0, "high": 9.0}
TOPIC = {"topic": "plant/P-1/flow", "rate": 2.0, "retained": 1, "sample": "118", "n": 9}
FORM = {"kind": "a number", "offset_us": -400_000, "unit": ""}


class Rig:
    """Checks whose child answers `answer`."""

    def __init__(self, answer: object, path: Path | None = Path("/etc/e.yaml")) -> None:
        self.ran: list[tuple[list[str], float]] = []
        self.audited: list[tuple[Any, ...]] = []
        self._answer = answer
        sources = {
            "plc": OpcUaSourceConfig("opc.tcp://plc"),
            "bus": MqttSourceConfig("mqtt://bus", ()),
            "old": ReplayConfig(Path("x.csv")),
        }
        config: Any = SimpleNamespace(sources=sources, gateway=SimpleNamespace(id="gw"))
        side: Any = self
        self.checks = GatewayChecks(lambda: config, path, side, self._audit)

    async def _audit(self, actor: str, action: str, subjects: Sequence[str], detail: str) -> None:
        self.audited.append((actor, action, *subjects, detail))

    async def run(self, words: Sequence[str], within_s: float) -> Ended:
        self.ran.append((list(words), within_s))
        return Ended(0, orjson.dumps(self._answer), "")


async def test_doctor_is_the_same_command() -> None:
    findings = [{"severity": "error", "where": "source plc", "what": "no", "mend": "x"}]
    rig = Rig({"ok": False, "findings": findings, "more": 1})
    assert await rig.checks.doctor("Lena") == {"ok": False, "findings": findings}
    ((words, _),) = rig.ran
    assert words[:3] == ["doctor", "--config", "/etc/e.yaml"]
    assert rig.audited == [("Lena", "doctor", "gw", "")]


async def test_nodes_and_topics_have_one_form() -> None:
    """Each a path, so that one tree shows both; a pattern is never taken for an option."""
    rig = Rig({"nodes": [NODE], "stopped": "after 2000 variables"})
    found = await rig.checks.tags(TagQuestion("plc", "--help", "Lena"))
    assert (found["type"], found["stopped"]) == ("opcua", "after 2000 variables")
    (tag,) = found["tags"]
    assert (tag["path"], tag["type"], tag["range"]) == (["L", "Flow"], "Double[]", [0.0, 9.0])
    ((words, _),) = rig.ran
    assert words[-3:] == ["--", "plc", "--help"]
    assert words[words.index("--most") + 1] == str(MAX_TAGS)

    rig = Rig({"topics": [TOPIC | {"form": FORM}], "more": 3, "refused": ["x: not authorized"]})
    found = await rig.checks.tags(TagQuestion("bus", "", "Lena"))
    (tag,) = found["tags"]
    assert (tag["path"], tag["lag_s"], tag["rate"]) == (["plant", "P-1", "flow"], 0.4, 2.0)
    assert found["stopped"] == "x: not authorized; 3 messages of further topics"
    assert rig.ran[0][0][-2:] == ["--", "bus"], "the filters of the config"
    assert rig.audited == [("Lena", "browse", "bus", "")]


async def test_what_has_no_tags_is_refused_before_anything_runs() -> None:
    rig = Rig({})
    for name in ("none", "old"):
        with pytest.raises(NotFoundError):
            await rig.checks.tags(TagQuestion(name, "", "Lena"))
    with pytest.raises(EdgeAgentError, match="without a config file"):
        await Rig({}, None).checks.doctor("Lena")
    assert (rig.ran, rig.audited) == ([], [])
