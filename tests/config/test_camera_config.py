"""What a config may say of cameras, and what is refused, with the key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.daemon import find_problems

if TYPE_CHECKING:
    from pathlib import Path

BASE = """
sources:
  bus: {type: mqtt, url: "mqtt://127.0.0.1", subscribe: [{topic: "plant/{asset}/{signal}"}]}
templates:
  press: {signals: {ready: {source: bus}, serial: {source: bus}}}
assets:
  P-{1..2}: {template: press}
cameras:
"""


def problems_of(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "edge.yaml"
    file.write_text(BASE + "".join(f"  {line}\n" for line in text.splitlines()))
    return [f"{one.key_path}: {one.message}" for one in find_problems(file)[1]]


GOOD = """
one: {asset: P-1, mqtt: {topic: cam/1}, view: {region: [0, 0, 0.5, 1], mask: [[0, 0, 1, 0, 1, 1]]}}
two: {asset: P-1, folder: {path: pictures, time: name, name: "(?P<time>.*)_(?P<part>.*)"}}
three: {asset: P-2, http: {url: "http://cam/1.jpg", trigger: {signal: P-2.ready}}}
four: {asset: P-2, rtsp: {url: "rtsp://cam/1"}}
"""


def test_four_cameras_are_sound(tmp_path: Path) -> None:
    assert problems_of(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ("{asset: P-1}", "cameras.x: needs exactly one of"),
        ("{asset: P-1, mqtt: {topic: a}, rtsp: {url: 'rtsp://c'}}", "x.rtsp: needs exactly one of"),
        ("{asset: P-9, mqtt: {topic: a}}", "x.asset: there is no asset 'P-9'"),
        ("{asset: P-1, mqtt: {topic: a/+}}", "x.mqtt.topic: is one topic"),
        ("{asset: P-1, mqtt: {topic: a, time: ts}}", "x.mqtt.time: needs image"),
        ("{asset: P-1, mqtt: {topic: a, source: b}}", "x.mqtt.source: 'b' is no source"),
        ("{asset: P-1, mqtt: {topic: cam/1}}", "x.mqtt: camera one has the same"),
        ("{asset: P-1, folder: {path: a, done: a}}", "x.folder.done: is another folder"),
        ("{asset: P-1, folder: {path: a, name: '('}}", "x.folder.name: is not a regular"),
        ("{asset: P-1, folder: {path: a, time: name}}", "x.folder.time: needs a group"),
        ("{asset: P-1, http: {url: 'http://u:p@cam/'}}", "x.http.url: a login never"),
        ("{asset: P-1, http: {url: 'rtsp://cam/'}}", "x.http.url: must be a URL"),
        (
            "{asset: P-1, http: {url: 'http://c/', trigger: {signal: P-1.rdy}}}",
            "trigger.signal: there is no signal 'P-1.rdy'",
        ),
        ("{asset: P-1, mqtt: {topic: a}, view: {rotate: 45}}", "x.view.rotate: must be 0"),
        ("{asset: P-1, mqtt: {topic: a}, view: {region: [0, 0, 2, 1]}}", "x.view.region: is [left"),
        ("{asset: P-1, mqtt: {topic: a}, view: {mask: [[0, 0, 1, 1]]}}", "x.view.mask[0]: is [x1"),
        ("{asset: [P-1], mqtt: {topic: a}}", "x.asset: takes one value"),
    ],
)
def test_a_wrong_camera_is_refused_with_its_key(tmp_path: Path, camera: str, said: str) -> None:
    found = problems_of(tmp_path, f"{GOOD}x: {camera}")
    assert len(found) == 1, found
    assert said in found[0]


def test_a_camera_is_a_source_too(tmp_path: Path) -> None:
    (found,) = problems_of(tmp_path, "bus: {asset: P-1, mqtt: {topic: a}}")
    assert "cameras.bus: 'bus' is the name of a source" in found


def test_a_camera_has_a_name_and_a_model_of_its_own(tmp_path: Path) -> None:
    """Its name is that of a signal and of an alarm; two that learn do not share a bundle."""
    (found,) = problems_of(tmp_path, "ready: {asset: P-1, mqtt: {topic: a}}")
    assert "cameras.ready: 'P-1' has a signal or model 'ready'" in found
    learn = "asset: P-1, learn: auto"
    both = f"a: {{{learn}, mqtt: {{topic: a}}}}\nb: {{{learn}, mqtt: {{topic: b}}}}"
    assert len(problems_of(tmp_path, both)) == 2
    apart = both.replace("topic: b}", "topic: b}, bundle: learned-b").replace(
        "topic: a}", "topic: a}, bundle: learned-a"
    )
    assert problems_of(tmp_path, apart) == []
