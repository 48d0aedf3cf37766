"""A client of open62541 (package `o6`): `opcua_o6.py URL CONDITION`; prints what it saw as JSON."""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

WAIT_S = 20.0


def main(url: str, condition: str) -> None:
    o6: Any = importlib.import_module("o6")
    client = o6.Client(url)
    client.connect()
    seen: list[dict[str, Any]] = []
    client.monitorEvent("i=2253", lambda *heard: seen.append(heard[-1]))
    number = o6.UInt32(client.defaultSubscription.id)

    def call(node: str, method: str, *arguments: Any) -> int:
        return int(client.call(node, method, list(arguments))[0])

    codes = [call("i=2782", "i=3875", number)]
    end_s = time.monotonic() + WAIT_S
    while len(seen) < 3 and time.monotonic() < end_s:
        time.sleep(0.05)
    event, text = client.read(f"{condition}/EventId"), o6.LocalizedText("seen", "en")
    codes += [call(condition, "i=9111", event, text) for _ in range(2)]
    acked = bool(client.read(f"{condition}/AckedState/Id"))
    shelving = f"{condition}/ShelvingState"
    codes += [call(shelving, "i=2949", 60_000.0), call(shelving, "i=2947")]
    types = [str(one["/EventType"]) for one in seen[:3]]
    health = float(client.read("ns=2;s=P-1/Monitoring/Health"))
    print(json.dumps({"codes": codes, "acked": acked, "types": types, "health": health}))  # noqa: T201
    client.disconnect()


main(*sys.argv[1:])
