"""From the JSON of a gateway to typed answers."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.client.answers import (
    Alarm,
    Answer,
    Asset,
    Contributor,
    Fact,
    Feedback,
    Finding,
    Input,
    Life,
    Model,
    ModelVersion,
    Passage,
    Prediction,
    Recording,
    Text,
    Transition,
    Window,
    WindowScore,
)
from edge_agent.client.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Row = Mapping[str, Any]

T = TypeVar("T")


def read_one(reader: Callable[[Row], T], value: object) -> T:
    """The answer that a JSON value is; ServerError if it is another program's."""
    try:
        return reader(value)  # type: ignore[arg-type]
    except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        text = f"the answer has another form than expected: {error!r}"
        raise ServerError(text, hint="is it edge-agent, of this version or a newer one?") from None


def read_all(reader: Callable[[Row], T], value: object) -> list[T]:
    """The same for a list."""
    return read_one(lambda rows: [reader(row) for row in rows], value)  # type: ignore[arg-type]


def struct(kind: Callable[..., T], row: Row, **parts: object) -> T:
    """A dataclass from the fields that it has; parts: those that are not as in the row."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    found = {name: value for name, value in row.items() if name in names}
    return kind(**found | ({"raw": row} if "raw" in names else {}) | parts)


def finding(row: Row, kind: type[Finding] = Finding, **parts: object) -> Finding:
    """What a model says."""
    life = row.get("rul_h")
    return struct(
        kind,
        row,
        window=struct(Window, row["window"]),
        model=struct(ModelVersion, row["model"]),
        rul_h=None if life is None else struct(Life, life),
        contributors=tuple(struct(Contributor, one) for one in row["contributors"]),
        **parts,
    )


def prediction(row: Row) -> Prediction:
    """The answer to `POST /api/predict`."""
    found = finding(
        row,
        Prediction,
        models=tuple(finding(one) for one in row["models"]),
        alarms=tuple(_replayed(one) for one in row["alarms"]),
        windows=tuple(struct(WindowScore, one) for one in row["windows"] or ()),
        recording=_recording(row["recording"]),
    )
    assert isinstance(found, Prediction)  # noqa: S101 (the kind)
    return found


def _replayed(row: Row) -> Transition:
    at_ms = round(datetime.fromisoformat(row["time"]).timestamp() * 1000)
    return struct(Transition, row, at_ms=at_ms)


def _recording(row: Row) -> Recording:
    notes = tuple(
        f"column {one['column']!r}: {one['cause']} in {one['rows']} of {one['of']} rows, line "
        f"{one['line']} ({one['mend']})"
        for one in row["columns"]
    )
    return struct(Recording, row, notes=(*row["read_as"], *notes), unused=tuple(row["unused"]))


def alarm(row: Row) -> Alarm:
    """A row of `GET /api/alarms`."""
    return struct(Alarm, row)


def transition(row: Row) -> Transition:
    """A row of `GET /api/alarms/history`."""
    return struct(Transition, row)


def asset(row: Row) -> Asset:
    """A row of `GET /api/assets`."""
    return struct(Asset, row, inputs=tuple(struct(Input, one) for one in row["inputs"]))


def model(row: Row) -> Model:
    """A row of `GET /api/models`."""
    return struct(Model, row)


def feedback(row: Row) -> Feedback:
    """The answer to feedback."""
    return struct(Feedback, row)


def answer(row: Row) -> Answer:
    """The answer to `POST /api/ask`."""
    return struct(
        Answer,
        row,
        facts=tuple(struct(Fact, one) for one in row.get("facts", ())),
        passages=tuple(struct(Passage, one) for one in row.get("passages", ())),
        nearest=tuple(row.get("nearest", ())),
    )


def text(row: Row) -> Text:
    """The answer to `POST /v1/chat/completions`."""
    choice, usage = row["choices"][0], row.get("usage") or {}
    return Text(
        choice["message"]["content"] or "",
        row.get("model", ""),
        choice.get("finish_reason") or "",
        usage.get("prompt_tokens", 0),
        usage.get("completion_tokens", 0),
        raw=row,
    )
