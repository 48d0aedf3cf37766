"""What a gateway answers, as plain typed data.

Fields have the names of the HTTP API; `raw` is the whole JSON, also of fields that a newer gateway
adds. Times are milliseconds since the epoch, UTC; unknown numbers are None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Row = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Contributor:
    """One input's share in a score; the weights of all inputs sum to the score."""

    input: str
    weight: float | None
    value: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """Hours of remaining life: the median, and where the life ends with 10 and with 90 %."""

    p10: float | None = None
    p50: float | None = None
    p90: float | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """The rows that were judged; coverage: 0 to 1, of good values of the worst input.

    Of data without times, both times count from the first row.
    """

    start_ms: int
    end_ms: int
    coverage: float | None = None
    quality: str = ""
    replayed: bool = False

    @property
    def start(self) -> datetime:
        """The time of its first row."""
        return _EPOCH + timedelta(milliseconds=self.start_ms)

    @property
    def end(self) -> datetime:
        """The time of its last row."""
        return _EPOCH + timedelta(milliseconds=self.end_ms)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that judged; mode: active, provisional, or uncertain outside of its training."""

    name: str
    version: str
    sha256: str = ""
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a model says of a window.

    prediction: `normal`, a fault class of the model or of the config, `anomaly`, `end_of_life`, or
    `unknown` outside of the training data; None if the model gave no number. probability: of the
    prediction; None if the model has none. score, limit: its own scale; level: 1 at the limit.
    health: 1 is healthy, 0.5 at the limit.
    """

    prediction: str | None
    probability: float | None
    score: float | None
    limit: float | None
    level: float | None
    health: float | None
    window: Window
    model: ModelVersion
    rul_h: Life | None = None
    contributors: tuple[Contributor, ...] = ()
    task: str = ""
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class WindowScore:
    """One window of a recording, in short; use: the model, as it is named in alarms' titles."""

    use: str
    start_ms: int
    end_ms: int
    coverage: float | None = None
    prediction: str | None = None
    probability: float | None = None
    score: float | None = None
    level: float | None = None
    health: float | None = None
    rul_h: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm; message and advice: by language. finding: of the model that raised it, if any."""

    alarm_id: str
    asset: str
    state: str = ""
    active: bool = False
    severity: int = 0
    priority: str = ""
    ne107: str = ""
    stage: str = ""
    count: int = 0
    seq: int = 0
    first_seen_ms: int | None = None
    changed_ms: int | None = None
    shelved_until_ms: int | None = None
    acked_by: str = ""
    comment: str = ""
    message: Mapping[str, str] = field(default_factory=dict)
    advice: Mapping[str, str] = field(default_factory=dict)
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of an alarm: of the history, or one that the data of a prediction would cause."""

    alarm_id: str
    asset: str
    transition: str
    at_ms: int
    actor: str = ""
    message: Mapping[str, str] = field(default_factory=dict)
    raw: Row = field(default_factory=dict, repr=False, compare=False)

    @property
    def at(self) -> datetime:
        """When it was."""
        return _EPOCH + timedelta(milliseconds=self.at_ms)


@dataclass(frozen=True, slots=True)
class Recording:
    """How the data were read. notes: cells and rows that are no data, one sentence each."""

    rows: int = 0
    values: int = 0
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Prediction(Finding):
    """What the models of an asset say of the end of some data.

    Its own fields are those of the model with the worst result; rul_h: of any model that has one.
    models: all that judged; unjudged: why others did not. alarms: what the data would raise and
    clear from their beginning, as `edge-agent replay` prints it. windows: all, if asked for.
    """

    asset: str = ""
    models: tuple[Finding, ...] = ()
    unjudged: Mapping[str, str] = field(default_factory=dict)
    alarms: tuple[Transition, ...] = ()
    windows: tuple[WindowScore, ...] = ()
    recording: Recording = field(default_factory=Recording)

    @property
    def is_normal(self) -> bool:
        """True if nothing is over its limit at the end of the data."""
        return self.prediction == "normal"


@dataclass(frozen=True, slots=True)
class Input:
    """A signal of an asset and its newest value."""

    name: str
    value: float | None = None
    unit: str = ""
    time_ms: int | None = None
    quality: str = ""


@dataclass(frozen=True, slots=True)
class Asset:
    """A machine; state: normal, alarm, learning, warming, no_model, unjudged, stopped."""

    id: str
    path: str = ""
    state: str = ""
    alarms: int = 0
    note: str = ""
    health: float | None = None
    score: float | None = None
    limit: float | None = None
    inputs: tuple[Input, ...] = ()
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the gateway; mode: active or shadow."""

    name: str
    version: str = ""
    mode: str = ""
    state: str = ""
    task: str = ""
    assets: int = 0
    reason: str = ""
    sha256: str = ""
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said of an alarm, and the counts of its model; limit_factor: on its limit."""

    alarm_id: str
    verdict: str
    limit_factor: float | None = None
    alarms: int = 0
    called_false: int = 0
    called_true: int = 0
    judged_h: float = 0.0
    called_planned: int = 0
    part: str = ""
    precision: float | None = None
    false_a_day: float | None = None
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence of the gateway's own catalogue about an alarm, an asset or the plant."""

    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of the plant's own documents, verbatim; sha256: of the document."""

    text: str
    document: str = ""
    revision: str = ""
    page: int | str | None = None
    heading: str = ""
    sha256: str = ""
    url: str = ""
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question; found: False if the manuals say nothing, `nearest` are headings."""

    answer: str
    found: bool = True
    facts: tuple[Fact, ...] = ()
    passages: tuple[Passage, ...] = ()
    nearest: tuple[str, ...] = ()
    raw: Row = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """Generated text; finish_reason: stop, or length if max_tokens ended it."""

    text: str
    model: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    raw: Row = field(default_factory=dict, repr=False, compare=False)
