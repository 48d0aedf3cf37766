"""`edge-agent browse` against node-opcua: the list, and a config that `check --connect` passes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from opcua_support import CLIENT_URI, NodeServer, make_pair

from edge_agent.cli import main
from edge_agent.daemon.gateway_checks import GatewayChecks
from edge_agent.daemon.tables import load_config
from edge_agent.service import SideCommands, TagQuestion
from edge_agent.testing import find_free_port
from scripts.rigs import ROOT, find_node_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration
PLANT = ROOT / "docs" / "quickstart" / "plant.js"


def serve(folder: Path, script: Path, **options: Any) -> NodeServer:
    modules = find_node_modules()
    if modules is None:
        pytest.skip("node-opcua is not installed")
    return NodeServer(modules, folder, script=script, **options).start()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    """The plant of docs/quickstart."""
    server = serve(tmp_path_factory.mktemp("plant"), PLANT, plain_port=True)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeServer]:
    """Cycles, continuation points, small limits, numeric ids, equal names."""
    script = ROOT / "tests" / "integration" / "browse_server.js"
    server = serve(tmp_path_factory.mktemp("odd"), script, limit=20, flat=2500)
    yield server
    server.kill()


@pytest.fixture
def browse(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run it; gives stdout."""

    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["browse", *words]) == code
        return capsys.readouterr().out

    return run


def checked(folder: Path, snippet: str, **more: Any) -> dict[str, Any]:
    """What `check --connect` says of a snippet, made a whole config."""
    tree: dict[str, Any] = yaml.safe_load(snippet)
    tree |= {"sinks": {"journal": {"type": "log"}}, "http": {"enabled": False}, **more}
    tree |= {"models_dir": str(folder / "models"), "store": {"path": str(folder / "s.db")}}
    path = folder / "edge-agent.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert main(["check", "-c", str(path), "--connect", "--json"]) == 0
    return tree


def test_the_snippet_is_a_config_that_fits(
    plant: NodeServer, browse: Callable[..., str], tmp_path: Path
) -> None:
    """One template for the four pumps, one pattern, units and ranges from the server."""
    out = browse(plant.url)
    tree = checked(tmp_path, out)
    assert tree["sources"]["plc"]["node"] == "nsu=urn:quickstart:plant;s={asset}.{signal}"
    assert list(tree["templates"]) == ["pump"]
    assert tree["templates"]["pump"]["signals"]["Flow"] == {"unit": "m3/h", "valid": [0, 100]}
    assert set(tree["templates"]["pump"]["signals"]) == {
        *("Flow", "Pressure", "Temperature", "Vibration")
    }
    assert tree["assets"]["P-201"] == {"template": "pump", "line": "Line2"}
    assert "# left out: Plant/Line1/P-101/State: String, no number: map: {RUNNING: 1" in out
    row = next(line for line in out.splitlines() if line.endswith("Plant/Line1/P-102/Flow"))
    assert row.startswith("# nsu=urn:quickstart:plant;s=P-102.Flow  ")
    assert "Double" in row
    assert "Good" in row
    assert "0..100" in row


def test_a_pattern_chooses(plant: NodeServer, browse: Callable[..., str]) -> None:
    """A glob of paths, of node ids, or a word; in whatever case."""
    for pattern, n in (
        ("Plant/Line2/*/Flow", 2),
        ("*;s=p-101.*", 5),
        ("vibration", 4),
        ("Plant/Line1/P-101/*", 5),
    ):
        nodes = json.loads(browse(plant.url, pattern, "--json"))["nodes"]
        assert len(nodes) == n, pattern
    assert json.loads(browse(plant.url, "nothing", "--json", code=1))["nodes"] == []


async def test_the_page_browses_by_the_same_command(plant: NodeServer, tmp_path: Path) -> None:
    """In a child, over the daemon's own config; what is cut off is told."""
    path = tmp_path / "edge-agent.yaml"
    signals = {"Flow": {"address": "nsu=urn:quickstart:plant;s=P-101.Flow"}}
    tree = {
        "sources": {"plc": {"type": "opcua", "url": plant.url}},
        "templates": {"pump": {"signals": signals}},
        "assets": {"P-101": {"template": "pump"}},
    }
    path.write_text(yaml.safe_dump(tree))
    config, audited = load_config(path), []

    async def audit(*entry: object) -> None:
        audited.append(entry)

    checks = GatewayChecks(lambda: config, path, SideCommands(), audit)
    found = await checks.tags(TagQuestion("plc", "Plant/Line1/P-101/*", "Lena"))
    assert found["stopped"] == ""
    flow = next(tag for tag in found["tags"] if tag["path"][-1] == "Flow")
    assert flow["path"] == ["Plant", "Line1", "P-101", "Flow"]
    assert (flow["type"], flow["unit"], flow["range"]) == ("Double", "m3/h", [0.0, 100.0])
    assert len(audited) == 1
    few = json.loads(
        (await SideCommands().run(["browse", plant.url, "--most", "3", "--json"], 60)).stdout
    )
    assert (len(few["nodes"]), few["stopped"]) == (3, "after 3 variables")


def test_a_source_of_a_config(
    plant: NodeServer, browse: Callable[..., str], tmp_path: Path
) -> None:
    """Its own security and login; the snippet says which source the signals are from."""
    path = tmp_path / "first.yaml"
    path.write_text(f"sources:\n  line: {{type: opcua, url: '{plant.url}'}}\n")
    tree = yaml.safe_load(browse("line", "-c", str(path), "--yaml"))
    assert "sources" not in tree
    assert tree["templates"]["pump"]["signals"]["Flow"] == {
        "source": "line",
        "address": "nsu=urn:quickstart:plant;s={asset}.{signal}",
        "unit": "m3/h",
        "valid": [0, 100],
    }
    checked(tmp_path, path.read_text() + yaml.safe_dump(tree))


def test_cycles_limits_and_continuation_points(
    odd: NodeServer, browse: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """2500 variables in one folder of a server that browses and reads 20 nodes at a time."""
    answer = json.loads(browse(odd.url, "--json"))
    paths = {tuple(one["path"]) for one in answer["nodes"]}
    assert answer["stopped"] == ""
    assert sum(path[0] == "Flat" for path in paths) == 2500
    assert ("Loop", "Inner", "x") in paths
    assert ("Odd", "Reset") not in paths
    assert not [path for path in paths if path[0] == "Server"]
    assert main(["browse", odd.url, "--seconds", "0.01", "--table"]) in {0, 1}
    assert "not complete: stopped out of time" in capsys.readouterr().err


def test_numeric_ids_and_equal_names(
    odd: NodeServer, browse: Callable[..., str], tmp_path: Path
) -> None:
    """Two pumps of one name in two halls are two assets; each address stands by itself."""
    tree = checked(tmp_path, browse(odd.url, "Halls/*", "--yaml"))
    assert set(tree["assets"]) == {"A-Pump_1", "A-Pump_2", "B-Pump_1", "B-Pump_2"}
    signals = tree["assets"]["B-Pump_2"]["signals"]
    assert set(signals) == {"Flow", "Druck_bar"}
    assert signals["Flow"]["address"].startswith("nsu=urn:odd;i=")
    load_config(tmp_path / "edge-agent.yaml")


def test_what_can_be_no_signal_is_said(odd: NodeServer, browse: Callable[..., str]) -> None:
    out = browse(odd.url, "Odd/*")
    assert "# left out: Odd/Spectrum: array of Float: usable with kind: waveform" in out
    assert "# left out: Odd/Name: String, no number" in out
    assert yaml.safe_load(out) is None


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, with what to do."""
    assert main(["browse", f"opc.tcp://127.0.0.1:{find_free_port()}"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "connection refused" in told[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plc"], "'plc' is a source of which config?"),
        (
            ["opc.tcp://h:1", "--user", "u"],
            "without a security policy the password is sent unencrypted",
        ),
        (["http://h:1"], "must be opc.tcp://HOST:PORT/PATH"),
        (["opc.tcp://h:1", "--policy", "Best"], "'Best' is not a valid SecurityPolicy"),
    ],
)
def test_wrong_use(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["browse", *words]) == 2
    assert told in capsys.readouterr().err


def test_an_encrypted_server_is_pinned_at_the_first_meeting(
    tmp_path_factory: pytest.TempPathFactory,
    browse: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its certificate is written down and shown; user and password go encrypted."""
    folder = tmp_path_factory.mktemp("secure")
    ours = make_pair(folder, "client", CLIENT_URI)
    modules = find_node_modules()
    if modules is None:
        pytest.skip("node-opcua is not installed")
    server = NodeServer(
        modules, folder, assets=2, signals=2, trust_all=True, anonymous=False, users={"u": "pw"}
    ).start()
    monkeypatch.setenv("EDGE_AGENT_PASSWORD", "pw")
    pinned = folder / "plc.der"
    words = [server.url, "a0*", "--user", "u", "--policy", "Basic256Sha256"]
    files = ["--certificate", str(ours.certificate), "--key", str(ours.key), "--pin", str(pinned)]
    try:
        tree = yaml.safe_load(browse(*words, *files, "--yaml"))
    finally:
        server.kill()
    assert pinned.stat().st_size > 500
    assert tree["sources"]["plc"]["security"]["server_certificate"] == str(pinned)
    assert tree["sources"]["plc"]["password"] == {"env": "EDGE_AGENT_PASSWORD"}
    assert tree["templates"]["machine"]["signals"].keys() == {"s0", "s1"}
    assert tree["sources"]["plc"]["node"] == "nsu=urn:plant;s={asset}.{signal}"
    assert set(tree["assets"]) == {"a000", "a001"}
