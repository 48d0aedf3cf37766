"""Inside the network namespace of `egress.py`: a plant, and a daemon under strace."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil
import yaml

from edge_agent.testing import wait_until
from scripts.rigs.faults.flow import Flow, PatchedDaemon, Shape, broker_of, write_config

SHAPE: Final = Shape(assets=2, hz=5.0)
_WAIT_S: Final = 60.0
_ROUTES: Final = (
    "/",
    "/metrics",
    "/api/models",
    "/api/assets",
    "/api/alarms/history",
    "/api/audit",
)


class TracedDaemon(PatchedDaemon):
    """strace runs beside it, so that its process is still our child."""

    def __init__(self, config: Path, trace: Path, patches: list[str], notify: str) -> None:
        super().__init__(config, patches, NOTIFY_SOCKET=notify)
        self._command[:0] = [
            *("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", str(trace)),
            *("-e", "trace=connect,sendto,sendmsg,sendmmsg", "-s", "1"),
        ]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Accepts every event."""

    heard = 0

    def do_POST(self) -> None:
        """Count it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        Receiver.heard += 1
        self.send_response(204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def main(folder: Path, *, calls_home: bool) -> None:
    """Raise alarms, stop the broker in between, and write what was configured."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(folder / "notify"))
    threading.Thread(target=_read, args=(notify,), daemon=True).start()
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    with ExitStack() as stack:
        broker = broker_of(folder)
        stack.callback(broker.start().stop)
        config = write_config(folder, broker.port, SHAPE.assets)
        settings = yaml.safe_load(config.read_text())
        hook = f"http://127.0.0.1:{receiver.server_port}"
        settings["http"]["socket"] = str(folder / "http.sock")
        settings["sinks"]["office"] = {"type": "webhook", "url": hook}
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        patches = ["children_call_home"] if calls_home else []
        daemon = TracedDaemon(config, folder / "strace", patches, str(folder / "notify"))
        stack.callback(daemon.stop)
        daemon.start()
        flow = stack.enter_context(Flow(broker.port, SHAPE))
        _raise(flow, 0)
        processes = 1 + len(psutil.Process(daemon.pid).children(recursive=True))
        for route in _ROUTES:
            daemon.ask(route)
        broker.stop()
        time.sleep(2.0)
        broker.start()
        _raise(flow, 1)
    found = {
        "allowed": [
            f"127.0.0.1:{broker.port}",
            f"127.0.0.1:{receiver.server_port}",
            str(folder / "notify"),
            str(folder / "http.sock"),  # its own: does another daemon serve it?
        ],
        "processes": processes,
        "alarms": Receiver.heard,
    }
    (folder / "found.json").write_text(json.dumps(found))


def _raise(flow: Flow, asset: int) -> None:
    before = Receiver.heard
    flow.break_asset(asset)
    wait_until(lambda: Receiver.heard > before, _WAIT_S, "an alarm at the webhook")


def _read(notify: socket.socket) -> None:
    while True:
        notify.recv(4096)


if __name__ == "__main__":
    main(Path(sys.argv[1]), calls_home=sys.argv[2] != "protected")
