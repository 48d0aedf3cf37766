"""All calls of the SDK: the request of each, and how its answer is read.

`Client` and `AsyncClient` have these functions as methods.
"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.client import reading as read
from edge_agent.client.answers import Alarm
from edge_agent.client.bottleneck_answer import line_bottleneck
from edge_agent.client.errors import BadDataError, NotFoundError
from edge_agent.client.exchange import IF_BUSY, NEVER, Request, post
from edge_agent.client.exchange import part as quoted_part
from edge_agent.client.line_answer import line as read_line
from edge_agent.client.line_answer import shift_result
from edge_agent.client.plan_answer import plan as read_plan
from edge_agent.client.quality_answer import quality_chart, quality_part
from edge_agent.client.reading import read_all, read_one
from edge_agent.client.tables import encode_table
from edge_agent.client.trend_answer import as_ms
from edge_agent.client.trend_answer import trend as read_trend

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from edge_agent.client.answers import (
        Answer,
        Asset,
        Feedback,
        Model,
        Prediction,
        Text,
        Transition,
    )
    from edge_agent.client.bottleneck_answer import LineBottleneck
    from edge_agent.client.exchange import Call
    from edge_agent.client.line_answer import Line, ShiftResult
    from edge_agent.client.plan_answer import Plan
    from edge_agent.client.quality_answer import QualityChart, QualityPart
    from edge_agent.client.trend_answer import Trend

_PREDICT_S: Final = 90.0  # the gateway itself gives up after 60
_TEXT_S: Final = 300.0
_ASSISTANT: Final = "edge-agent"  # the virtual model that answers about alarms
_MAX_ROWS: Final = 10_000


def predict_failure(  # noqa: PLR0913 (what a prediction can differ in)
    data: object,
    *,
    asset: str = "",
    model: str = "",
    columns: Sequence[str] = (),
    windows: bool = False,
    reading: Mapping[str, str] | None = None,
) -> Call[Prediction]:
    """Judge data with the models of an asset, or with one model, as the gateway judges its own.

    data: a pandas or polars DataFrame, a dict of columns, an array or list of rows, or the path of
    a CSV file; with times (a column `time`, or the index) or, if the rows are as far apart as the
    model's, without. columns: the names of an array's columns; default: the model's inputs, or the
    asset's signals, in their order. windows: return every window, not only the last. reading: how
    a CSV is written: time, time_format, timezone, separator, decimal, quality, quality_codes.

    Raises BadDataError with the column, ConflictError if no model scores the asset, and others.
    """
    if bool(asset) == bool(model):
        raise BadDataError("which asset, or which model?", hint="asset='P-101', or model='NAME'")
    body, kind = encode_table(data, columns)
    query = {"asset": asset, "model": model, "windows": "true" if windows else None}
    query |= reading or {}
    reply = yield Request("POST", "/api/predict", query, body, kind, IF_BUSY, _PREDICT_S)
    return read_one(read.prediction, reply.json())


def ask(question: str, *, asset: str = "", alarm: str = "", language: str = "") -> Call[Answer]:
    """Ask what an alarm means or what the plant's manuals say; with quotes and their places.

    asset, alarm: whose facts belong to the answer. language: en, zh, ja, de; default: the
    question's.
    """
    given = {"asset": asset, "alarm": alarm, "language": language}
    body = {"question": question, **{key: value for key, value in given.items() if value}}
    reply = yield post("/api/ask", body, repeat=IF_BUSY, timeout_s=_TEXT_S)
    return read_one(read.answer, reply.json())


def generate_text(  # noqa: PLR0913 (the parameters of the OpenAI API)
    prompt: str,
    max_tokens: int = 256,
    *,
    model: str = "",
    system: str = "",
    temperature: float | None = None,
    stop: list[str] | None = None,
) -> Call[Text]:
    """Let the gateway's language model answer a prompt, over the OpenAI API (`/v1`).

    model: default: the first that the gateway has. system: the instruction before the prompt.
    temperature: 0 gives the same text again.
    """
    request = yield from text_request(
        prompt, max_tokens, model=model, system=system, temperature=temperature, stop=stop
    )
    reply = yield request
    return read_one(read.text, reply.json())


def text_request(  # noqa: PLR0913 (the parameters of the OpenAI API)
    prompt: str,
    max_tokens: int = 256,
    *,
    model: str = "",
    system: str = "",
    temperature: float | None = None,
    stop: list[str] | None = None,
    stream: bool = False,
) -> Call[Request]:
    """The request for text; it asks for the models if none is named."""
    if not model:
        reply = yield Request("GET", "/v1/models")
        model = read_one(_first_model, reply.json())
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt})
    options = {"temperature": temperature, "stop": stop, "stream": stream or None}
    body: dict[str, Any] = {"model": model, "messages": messages, "max_tokens": max_tokens}
    body |= {key: value for key, value in options.items() if value is not None}
    return post("/v1/chat/completions", body, repeat=IF_BUSY, timeout_s=_TEXT_S)


def _first_model(found: Mapping[str, Any]) -> str:
    names = [str(row["id"]) for row in found["data"]]
    model = next((name for name in names if name != _ASSISTANT), None)
    if model is None:
        raise NotFoundError(
            "the gateway has no language model", hint="see `language` in its config"
        )
    return model


def alarms(state: str = "", *, limit: int = _MAX_ROWS) -> Call[list[Alarm]]:
    """List alarms that are not normal, in one ISA-18.2 state, or `all`; the most severe first."""
    reply = yield Request("GET", "/api/alarms", {"state": state, "limit": limit})
    return read_all(read.alarm, reply.json())


def ack(
    alarm: str | Alarm | Iterable[str | Alarm] = (),
    *,
    pattern: str = "",
    asset: str = "",
    by: str = "",
    comment: str = "",
) -> Call[list[Alarm]]:
    """Acknowledge one alarm, several, or those that match a pattern of ids or of assets.

    by: who does it; default: the user of this program. Returns their new states; of several, only
    those whose state allowed it. It is never sent twice.
    """
    said = {"by": by or _user(), "comment": comment}
    if isinstance(alarm, str | Alarm):
        reply = yield post(f"/api/alarms/{quoted_part(_id(alarm))}/ack", said, repeat=NEVER)
        return [read_one(read.alarm, reply.json())]
    wanted = {"ids": [_id(one) for one in alarm], "pattern": pattern, "asset": asset}
    chosen = {key: value for key, value in wanted.items() if value}
    if not chosen:
        raise BadDataError("which alarms?", hint="ack('P-1.pump'), or pattern='P-1*'")
    reply = yield post("/api/alarms/ack", {**said, **chosen}, repeat=NEVER)
    return read_all(read.alarm, reply.json())


def feedback(
    alarm: str | Alarm, *, is_true: bool | None, by: str = "", comment: str = "", part: str = ""
) -> Call[Feedback]:
    """Say that the last occurrence of a model's alarm was true or false; its limit learns it.

    is_true: None for planned work; part: of the machine, that it was about.
    """
    verdict = "planned" if is_true is None else "true" if is_true else "false"
    said = {"by": by or _user(), "comment": comment, "verdict": verdict}
    if part:
        said["part"] = part
    reply = yield post(f"/api/alarms/{quoted_part(_id(alarm))}/feedback", said, repeat=NEVER)
    return read_one(read.feedback, reply.json())


def history(asset: str = "", *, alarm_id: str = "", limit: int = 100) -> Call[list[Transition]]:
    """List past transitions of alarms, the newest first, as many pages as `limit` needs."""
    rows: list[Mapping[str, Any]] = []
    before: object = None
    while len(rows) < limit:
        query = {"asset": asset, "alarm_id": alarm_id, "before": before, "limit": limit - len(rows)}
        reply = yield Request("GET", "/api/alarms/history", query)
        page = read_all(dict, reply.json())
        rows += page
        before = page[-1].get("row") if page else None
        if before is None:
            break
    return read_all(read.transition, rows)


def bottleneck(line: str) -> Call[LineBottleneck]:
    """Name the machine that limits a line, over its shift and now; NotFoundError without one."""
    reply = yield Request("GET", f"/api/lines/{quoted_part(line)}/bottleneck")
    return read_one(line_bottleneck, reply.json())


def bottlenecks() -> Call[list[LineBottleneck]]:
    """List the bottlenecks of all lines whose config asks for it."""
    reply = yield Request("GET", "/api/bottlenecks")
    return read_all(line_bottleneck, reply.json())


def trend(
    asset: str,
    signals: Sequence[str] = (),
    *,
    start: datetime | float | None = None,
    end: datetime | float | None = None,
    points: int = 300,
) -> Call[Trend]:
    """Aggregates of an asset's inputs, scores, limits and contributions, and its alarms.

    signals: names of inputs, or `score:NAME`, `contribution:*` and the like; default: all. start,
    end: times, or seconds since the epoch; default: the last hour. points: of each series, 2000 at
    most; the gateway chooses the step.
    """
    query = {
        "asset": asset,
        "signals": ",".join(signals),
        "from": as_ms(start),
        "to": as_ms(end),
        "points": points,
    }
    reply = yield Request("GET", "/api/trend", query)
    return read_one(read_trend, reply.json())


def lines() -> Call[list[Line]]:
    """List the lines: the state of each machine, and its running shift."""
    reply = yield Request("GET", "/api/lines")
    return read_all(read_line, reply.json())


def oee(line: str, machine: str = "", *, shifts: int = 10) -> Call[list[ShiftResult]]:
    """OEE, times and losses of a line by ISO 22400-2: the running shift, then closed ones.

    machine: default: the one whose OEE is that of the line. shifts: how many closed ones at most,
    the newest first. Raises NotFoundError if there is no such line.
    """
    found = yield from lines()
    own = next((one for one in found if one.line == line), None)
    if own is None:
        raise NotFoundError(f"there is no line {line!r}", hint="lines() lists them")
    machine = machine or own.oee_of
    query = {"machine": machine, "limit": shifts}
    reply = yield Request("GET", f"/api/lines/{quoted_part(line)}/shifts", query)
    closed = read_all(shift_result, reply.json())
    now = [one.current for one in own.machines if one.machine == machine]
    return [one for one in now if one is not None] + closed[:shifts]


def quality(asset: str = "") -> Call[list[QualityChart]]:
    """List control charts with their limits and capability, of one asset or of all."""
    reply = yield Request("GET", "/api/quality", {"asset": asset})
    return read_all(quality_chart, reply.json())


def parts(
    asset: str = "",
    *,
    part: str = "",
    before: datetime | float | None = None,
    limit: int = 100,
) -> Call[list[QualityPart]]:
    """List parts with measurements and verdicts, the newest first; before: finished earlier."""
    query = {"asset": asset, "part": part, "before": as_ms(before), "limit": limit}
    reply = yield Request("GET", "/api/quality/parts", query)
    return read_all(quality_part, reply.json())


def plan() -> Call[Plan]:
    """The maintenance plan: a proposal, the most costly job to put off first.

    NotFoundError if the gateway has none.
    """
    reply = yield Request("GET", "/api/plan")
    return read_one(read_plan, reply.json())


def assets(search: str = "", *, limit: int = _MAX_ROWS) -> Call[list[Asset]]:
    """List machines, those with alarms or bad inputs first; search: in id, path and state."""
    reply = yield Request("GET", "/api/assets", {"search": search, "limit": limit})
    return read_all(read.asset, reply.json())


def models() -> Call[list[Model]]:
    """List active and refused models, and shadows."""
    reply = yield Request("GET", "/api/models")
    return read_all(read.model, reply.json())


def _id(alarm: str | Alarm) -> str:
    return alarm if isinstance(alarm, str) else alarm.alarm_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, in some containers
        return "edge-agent-client"
