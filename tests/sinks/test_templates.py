"""Templates: shipped ones give valid messages from any value; a plant's own are checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from sink_support import event

from edge_agent.clock import SystemClock
from edge_agent.config.problem import ConfigErrors
from edge_agent.config.schema import Gateway
from edge_agent.daemon import find_problems
from edge_agent.sinks.base import DeliveryError
from edge_agent.sinks.templates import (
    PLACEHOLDERS,
    Format,
    find_template,
    read_templates,
    shipped_templates,
    template_problems,
)
from edge_agent.sinks.webhook import WebhookSink, WebhookSinkConfig

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.ops.metrics import Metrics

NUMBERS = {"ntfy_priority": "4", "order_priority": "2"}
NASTY = 'a "b" \\ {title} <c> & [x](http://y) *_`\n1. ü 軸受 \x00'


@pytest.mark.parametrize("name", ["teams", "slack", "ntfy", "work_order"])
@given(text=st.text())
def test_any_value_gives_valid_json(name: str, text: str) -> None:
    """No text from a plant can break out of its place in the JSON."""
    body = find_template(name, None).render(dict.fromkeys(PLACEHOLDERS, text) | NUMBERS)
    orjson.loads(body)


def test_teams_shows_an_adaptive_card_and_no_foreign_link() -> None:
    """Markdown in a value is shown as it is: a name of a machine makes no link."""
    body = find_template("teams", None).render(dict.fromkeys(PLACEHOLDERS, NASTY) | NUMBERS)
    card = orjson.loads(body)["attachments"][0]["content"]
    assert card["type"] == "AdaptiveCard"
    assert "\\[x\\](http://y)" in card["body"][1]["text"]


def test_slack_escapes_its_signs() -> None:
    """A value can neither mention a channel nor make a link."""
    values = dict.fromkeys(PLACEHOLDERS, "<!channel> & co")
    blocks = orjson.loads(find_template("slack", None).render(values))["blocks"]
    assert blocks[1]["text"]["text"].startswith("&lt;!channel&gt; &amp; co")


def test_ntfy_and_work_order_have_numbers() -> None:
    """Priorities are numbers there; the topic is the plant's own."""
    values = dict.fromkeys(PLACEHOLDERS, "x") | NUMBERS
    ntfy = orjson.loads(find_template("ntfy", None).render({**values, "own_topic": "pumps"}))
    assert (ntfy["topic"], ntfy["priority"]) == ("pumps", 4)
    assert orjson.loads(find_template("work_order", None).render(values))["priority"] == 2


CHECKED = """\
sinks:
  chat: {type: webhook, url: "http://127.0.0.1:1/", template: page, templates: own.yaml}
sources: {plc: {type: replay, path: x.csv}}
templates: {}
notify: {routes: {shift: {sink: chat}}}
"""
OWN = """\
sms:
  format: form
  body: "to={own_number}&text={message}"
page:
  format: xml
  body: "<page>{message}</page>"
"""


def test_a_plants_own_template_is_escaped_by_its_format(tmp_path: Path) -> None:
    """A form, XML and plain text each escape what they must."""
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    values = {"message": "a&b <c>", "own_number": "+49"}
    assert find_template("sms", file).render(values) == b"to=%2B49&text=a%26b+%3Cc%3E"
    assert find_template("page", file).render(values) == b"<page>a&amp;b &lt;c&gt;</page>"
    assert find_template("teams", file) == shipped_templates()["teams"]
    assert list(template_problems("sms", file, {})) == [("values", "template sms needs 'number'")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('x: {body: \'{"a": "{massage}"}\'}', "unknown placeholder {massage}"),
        ("x: {body: '{\"a\": {message}'}", "is no JSON"),
        ("x: {format: text}", "needs a text with placeholders"),
        ("x: {format: python, body: 'x'}", "'python' is not allowed"),
    ],
)
def test_a_wrong_template_is_told_with_file_and_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    """Each mistake names file, line and key."""
    file = tmp_path / "own.yaml"
    file.write_text("# own\n" + text + "\n")
    with pytest.raises(ConfigErrors) as caught:
        read_templates(file)
    assert f"{file}:2: x" in str(caught.value)
    assert problem in str(caught.value)
    assert [key for key, _ in template_problems("x", file, {})] == ["templates"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"template": "fax"}, "template"),
        ({"template": "ntfy"}, "values"),
    ],
)
def test_a_webhook_with_a_wrong_template(changed: dict[str, Any], key: str) -> None:
    """A template that does not exist, or lacks a value, is a mistake of the config."""
    config = WebhookSinkConfig("http://127.0.0.1:1/", **changed)
    assert [found for found, _ in config.problems()] == [key]


def test_a_plants_file_is_read_by_check(tmp_path: Path) -> None:
    """Its mistakes are those of the sink that names it, with file and line of both."""
    config = tmp_path / "edge.yaml"
    config.write_text(CHECKED)
    assert [(one.key_path, one.line) for one in find_problems(config)[1]] == [
        ("sinks.chat.templates", 2)
    ]
    (tmp_path / "own.yaml").write_text("page: {body: '{massage}'}")
    (problem,) = find_problems(config)[1]
    assert "own.yaml:1: page.body: unknown placeholder {massage}" in problem.message
    (tmp_path / "own.yaml").write_text("page: {format: text, body: '{message}'}")
    assert find_problems(config)[1] == []


async def test_a_webhook_posts_the_filled_template(metrics: Metrics) -> None:
    """The receiver gets the template's form and type; an event that is no message is given up."""
    got: list[tuple[str, bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        got.append((request.content_type, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        config = WebhookSinkConfig(str(server.make_url("/")), template="slack")
        sink = WebhookSink("chat", config, Gateway(), "edge", metrics, SystemClock())
        await sink.start()
        await sink.deliver(event("P-1"))
        with pytest.raises(DeliveryError, match=r"notify\.routes") as caught:
            await sink.deliver(replace(event("P-1"), body=b"{}"))
        assert not caught.value.retry
        await sink.stop()
    ((kind, body),) = got
    assert kind == "application/json"
    assert orjson.loads(body)["text"] == "P-1"


def test_every_shipped_template_is_json_or_text() -> None:
    """What ships has a type that receivers know."""
    assert {one.format for one in shipped_templates().values()} == {Format.JSON, Format.TEXT}
