"""docs/quickstart.md, line by line: from an empty folder to a learned model and its alarm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.testing import find_free_port, find_mosquitto
from scripts.rigs import ROOT, find_node_modules

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PAGE: Final = ROOT / "docs" / "quickstart.md"
LIMIT_S: Final = 240
TEN_MINUTES_S: Final = 600


def blocks(*headings: str) -> str:
    """The shell of the page's head and of the chapters with these words in their heading."""
    head, *chapters = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    wanted = [head, *(c for c in chapters if any(word in c.splitlines()[0] for word in headings))]
    assert len(wanted) == 1 + len(headings)
    return "\n".join(re.findall(r"```sh\n(.*?)```", "".join(wanted), flags=re.DOTALL))


def replaced(script: str) -> str:
    """Free ports, our checkout, and node-opcua from where it is installed already."""
    for port in ("4840", "1883", "9460"):
        script = script.replace(port, str(find_free_port()))
    script = script.replace("npm install node-opcua\n", "")
    return re.sub(r"(?m)^CHECKOUT=.*$", f"CHECKOUT='{ROOT}'", script)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[object]:
    """Run a script as a user would type it; everything it started ends with it."""
    groups: list[int] = []

    def go(script: str) -> str:
        bins = (str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin")
        log = tmp_path / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-euxo", "pipefail", "-c", script],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PATH": os.pathsep.join(bins),
                    "NODE_PATH": str(find_node_modules() or ""),
                    "PYTHONPATH": str(ROOT),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            groups.append(process.pid)
            try:
                code = process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                code = -1
        told = log.read_text(errors="replace")
        more = tmp_path / "quickstart" / "run.log"
        assert code == 0, told + (more.read_text() if more.exists() else "")
        return told

    yield go
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def test_opc_ua(run: object) -> None:
    """Browse, init, check, learn, a fault, its alarm, an acknowledgement, the doctor."""
    if find_node_modules() is None:
        pytest.skip("node-opcua is not installed")
    begin_s = time.monotonic()
    told = run(replaced(blocks("OPC UA")))  # type: ignore[operator]
    assert time.monotonic() - begin_s < TEN_MINUTES_S
    assert re.search(r"P-102\.baseline .*P-102: unusual behaviour, .*mainly \w+", told)
    assert "ok: source plc: 16 of 16 nodes" in told
    assert re.search(r"^0 errors, ", told, flags=re.MULTILINE)


def test_mqtt(run: object) -> None:
    """The same over a broker, where the alarm comes back."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    told = run(replaced(blocks("MQTT")))  # type: ignore[operator]
    assert re.search(r"P-102\.baseline .*P-102: unusual behaviour", told)
    assert re.search(r"edge/enterprise/north/area/Line1/P-102/_pdm/alert/P-102.baseline", told)
