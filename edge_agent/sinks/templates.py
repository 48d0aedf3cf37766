"""Templates of chats, phones and work orders: plain data with placeholders, escaped by format."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import orjson

from edge_agent.config.structs import parse_struct, read_struct
from edge_agent.config.types import Between, Name
from edge_agent.errors import EdgeAgentError
from edge_agent.sinks.base import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_agent.messages import Message

# What a message to people has; see docs/notifications.md. Each is a text, also if it is empty.
_NAMES: Final = """
title message details text advice asset alarm_id place priority severity state time since kind
failure_mode causes checks mends inputs last_time route link event_id color tag ntfy_priority
order_priority service
"""
PLACEHOLDERS: Final = frozenset(_NAMES.split())
OWN: Final = "own_"  # + a key of the sink's `values`

_PLACE: Final = re.compile(r"\{(\w+)\}")
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>#|~])")


class Format(StrEnum):
    """The form of a body, by which each value is escaped."""

    JSON = "json"
    TEXT = "text"
    FORM = "form"
    XML = "xml"


class Markup(StrEnum):
    """What the receiver reads in a text; its signs in our values are escaped."""

    NONE = "none"
    SLACK = "slack"
    MARKDOWN = "markdown"


_CONTENT_TYPES: Final = {
    Format.JSON: "application/json",
    Format.TEXT: "text/plain; charset=utf-8",
    Format.FORM: "application/x-www-form-urlencoded",
    Format.XML: "application/xml",
}
_ESCAPES: Final[Mapping[str, Callable[[str], str]]] = {
    Format.JSON: lambda text: orjson.dumps(text).decode()[1:-1],
    Format.TEXT: str,
    Format.FORM: quote_plus,
    Format.XML: escape,
    Markup.NONE: str,
    Markup.SLACK: escape,  # & < > are its only signs
    Markup.MARKDOWN: lambda text: _MARKDOWN.sub(r"\\\1", text),
}


@dataclass(frozen=True, slots=True)
class Template:
    """A template; longest: characters of a value, the rest is cut off."""

    body: str = ""
    subject: str = ""  # of an e-mail
    format: Format = Format.JSON
    markup: Markup = Markup.NONE
    longest: Annotated[int, Between(20, 20_000)] = 2800

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield problems as (key, message)."""
        if not self.body.strip():
            yield "body", "needs a text with placeholders such as {message}"
        for key in ("body", "subject"):
            for name in sorted(set(_PLACE.findall(getattr(self, key)))):
                if name not in PLACEHOLDERS and not name.startswith(OWN):
                    known = ", ".join(sorted(PLACEHOLDERS))
                    yield key, f"unknown placeholder {{{name}}}; known: {known}, own_…"
        if self.format is Format.JSON and self.body.strip() and not self._is_json():
            yield "body", "is no JSON when it is filled in: are texts in quotes?"

    def _is_json(self) -> bool:
        values = dict.fromkeys(_PLACE.findall(self.body), "7")
        try:
            orjson.loads(_fill(self.body, values))
        except orjson.JSONDecodeError:
            return False
        return True

    @property
    def content_type(self) -> str:
        """The media type of a body."""
        return _CONTENT_TYPES[self.format]

    @property
    def own_names(self) -> set[str]:
        """The keys of the sink's `values` that it needs."""
        found = _PLACE.findall(self.body + self.subject)
        return {name.removeprefix(OWN) for name in found if name.startswith(OWN)}

    def render(self, values: Mapping[str, str]) -> bytes:
        """The body with every value escaped; what is unknown is empty."""
        markup, encode = _ESCAPES[self.markup], _ESCAPES[self.format]
        escaped = {name: encode(markup(self._cut(text))) for name, text in values.items()}
        return _fill(self.body, escaped).encode()

    def render_subject(self, values: Mapping[str, str]) -> str:
        """The subject of an e-mail: one line."""
        return " ".join(_fill(self.subject, values).split())[:200]

    def _cut(self, text: str) -> str:
        return text if len(text) <= self.longest else f"{text[: self.longest - 1]}…"


Templates = dict[Name, Template]


@cache
def shipped_templates() -> Mapping[str, Template]:
    """The templates of the package, by name."""
    text = resources.files("edge_agent.sinks").joinpath("templates.yaml").read_text("utf-8")
    return dict(parse_struct(text, Path("templates.yaml"), dict[Name, Template]).items())


def find_template(name: str, file: Path | None) -> Template:
    """A template by name, of a plant's file or ours; KeyError, or ConfigErrors of the file."""
    own: Mapping[str, Template] = {} if file is None else dict(read_templates(file).items())
    return own.get(name) or shipped_templates()[name]


def read_templates(file: Path) -> Templates:
    """A plant's own templates; ConfigErrors lists all problems with file and line."""
    return read_struct(file, dict[Name, Template])


def template_problems(
    name: str, file: Path | None, values: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a sink's template, its file and its own values."""
    if file is not None and not file.is_file():
        yield "templates", f"there is no file {file}"
        return
    try:
        template = find_template(name, file)
    except KeyError:
        known = ", ".join(shipped_templates())
        yield "template", f"there is no template {name!r}; shipped: {known}; own: templates"
    except EdgeAgentError as error:
        yield "templates", " ".join(str(error).split())
    else:
        for missing in sorted(template.own_names - values.keys()):
            yield "values", f"template {name} needs {missing!r}"


def values_of(message: Message, own: Mapping[str, str]) -> dict[str, str]:
    """The values of a message to people, with a sink's own; DeliveryError if it is none."""
    try:
        values = orjson.loads(message.body)["values"]
        named = {str(name): str(value) for name, value in values.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        text = "not a message to people: name this sink in notify.routes"
        raise DeliveryError(text, reason="malformed", retry=False) from None
    return named | {OWN + name: value for name, value in own.items()}


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda found: values.get(found[1], ""), text)
