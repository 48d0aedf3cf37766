"""The config as typed structs: what a user may write, with its defaults.

A package that owns a `type:` (sources, sinks) declares its own struct next to its class; the
caller passes these tables to the loader, so that no struct here depends on MQTT or OPC UA.
Units: every duration is seconds (`10s`, `500ms`, `2h` in YAML), every size bytes (`64MiB`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol

from edge_agent.config.bearing import Bearing, turns_per_s
from edge_agent.config.cameras import Camera
from edge_agent.config.conditions import Condition  # noqa: TC001 (the loader reads the hints)
from edge_agent.config.control_charts import ControlChart, PartRecords
from edge_agent.config.language import Language
from edge_agent.config.limits import Iso20816, Limit  # noqa: TC001 (same)
from edge_agent.config.lines import Line  # noqa: TC001 (same)
from edge_agent.config.maintenance import Maintenance  # noqa: TC001 (same)
from edge_agent.config.notify import Notify
from edge_agent.config.settings import (
    Http,
    Inference,
    Labelled,
    Log,
    Manuals,
    OpcuaServer,
    Pictures,
    RemoteServer,
    Runtime,
    Standby,
    Store,
    Trends,
    Trust,
    Tuning,
)
from edge_agent.config.shifts import Calendar  # noqa: TC001 (same)
from edge_agent.config.types import (
    Between,
    Cycle,
    Duration,
    Name,
)
from edge_agent.messages import Ne107

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_ROWS: Final = 128  # a baseline needs this number of complete rows, and
LEAST_WINDOWS: Final = 4  # this number of windows
_OFF_STEPS: Final = 2  # of a learned model, below its limit before its alarm clears
_DAY_S: Final = 86_400.0
_FULL_WINDOWS: Final = 16  # in a full baseline, and
_FULL_ROWS: Final = 1024  # rows, if no duration is told
DEFAULT_LENGTH: Final = 64  # rows of a window of a baseline


class Kind(StrEnum):
    """The form of a signal's values: the names of the rows in `signals.INPUT_KINDS`."""

    SCALAR = "scalar"
    WAVEFORM = "waveform"
    PICTURE = "picture"  # of a camera: never written in a config


class Resample(StrEnum):
    """How several values in one step of the model's grid are reduced to one."""

    LAST = "last"
    MEAN = "mean"
    MIN = "min"
    MAX = "max"


class Uncertain(StrEnum):
    """How to treat a value of uncertain quality."""

    USE = "use"
    HOLD = "hold"
    BAD = "bad"


class TimeOf(StrEnum):
    """The clock that defines the time of a value."""

    AUTO = "auto"  # the source's, as long as it is right
    SOURCE = "source"
    SERVER = "server"  # OPC UA: ServerTimestamp
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True)
class SourceTraits:
    """The properties of a source that the pipeline needs, for every type.

    reports_changes: a value holds until the next one; silence_s: after this many seconds without
    a value a signal is stale, unless it has its own limit (None: never); time_of: the clock to use.
    finds_silence: a signal is stale later than that if its own values come more rarely.
    """

    reports_changes: bool = False
    silence_s: float | None = None
    time_of: TimeOf = TimeOf.SOURCE
    finds_silence: bool = False


class SourceConfig(Protocol):
    """The keys that every source's struct has in addition to its own."""

    @property
    def traits(self) -> SourceTraits:
        """How the pipeline interprets its values."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """The identity of this gateway: its id and its place in the ISA-95 hierarchy.

    id: unique in the plant; the default is made from host name and machine id. member: of a pair
    of gateways with the same id (`standby`); the default is the host name.
    """

    id: Name = Name("gateway")
    enterprise: Name = Name("enterprise")
    site: Name = Name("site")
    area: Name = Name("area")
    line: Name = Name("line")
    member: Name = Name("")

    @property
    def client_name(self) -> str:
        """What the names of its MQTT clients contain: a broker accepts each name only once."""
        return f"{self.id}-{self.member}" if self.member else self.id

    @property
    def path(self) -> str:
        """The ISA-95 place of the gateway itself: enterprise/site/area/line/id."""
        return f"{self.enterprise}/{self.site}/{self.area}/{self.line}/{self.id}"


@dataclass(frozen=True, slots=True)
class Signal:
    """A sensor of an asset (a tag)."""

    source: str = ""  # optional if the config has only one source
    address: str = ""  # OPC UA node, JSON key or CSV column; {asset} {line} {signal} are replaced
    unit: str = ""
    kind: Kind = Kind.SCALAR
    valid: tuple[float, float] | None = None  # outside: BadOutOfRange, never data
    stale_after: Duration | None = None  # default: found for MQTT, >= 30 s; never for OPC UA
    stuck_after: Duration | None = None  # no change for this long: a data-quality alarm
    uncertain: Uncertain = Uncertain.USE
    resample: Resample = Resample.LAST
    deadband: Annotated[float, Between(0, 1e12)] = 0.0
    sampling: Duration | None = None  # OPC UA sampling interval; default: the source's
    rate_hz: Annotated[float, Between(0, 1e7)] = 0.0  # of a waveform that does not contain its own
    pulses_per_turn: Annotated[float, Between(0, 1e6)] = 0.0  # of a tacho: its value is the speed
    scale: Annotated[float, Between(-1e12, 1e12)] = 1.0  # value = the source's value * scale ...
    offset: Annotated[float, Between(-1e15, 1e15)] = 0.0  # ... + offset; `valid` checks the result
    map: dict[str, float] = field(default_factory=dict)  # text -> number: {RUNNING: 1, STOPPED: 0}
    decimal: str = ""  # "," if texts have a decimal comma; default: the source's, or "."
    limits: dict[Name, Limit] = field(default_factory=dict)
    iso20816: Iso20816 | None = None  # limits at the zone boundaries of a vibration velocity

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.kind is Kind.PICTURE:
            yield "kind", "of a signal is no picture: write a camera in `cameras`"
        if self.scale == 0:
            yield "scale", "must not be 0: every value would be the same"
        if self.decimal not in {"", ".", ","}:
            yield "decimal", "must be '.' or ','"
        if self.kind is not Kind.SCALAR:
            for key in ("map", "decimal"):
                if getattr(self, key):
                    yield key, f"has no effect on a {self.kind}"
        if self.rate_hz and self.kind is not Kind.WAVEFORM:
            yield "rate_hz", "has no effect without kind: waveform"
        if self.pulses_per_turn and self.kind is not Kind.WAVEFORM:
            yield "pulses_per_turn", "has no effect without kind: waveform"
        elif self.pulses_per_turn and not turns_per_s(self.unit):
            yield "unit", "of a tacho is that of its speed: write 1/min, or Hz"

    @property
    def is_number(self) -> bool:
        """True if it has single values: numbers, or the speed that the pulses of a tacho give."""
        return self.kind is Kind.SCALAR or bool(self.pulses_per_turn)


@dataclass(frozen=True, slots=True)
class AlarmRule:
    """When a model's score becomes an alarm, and its severity."""

    limit: float | None = None  # default: the bundle's calibrated threshold
    on_delay: Duration = Duration(0)
    off_delay: Duration = Duration(30)
    deadband: Annotated[float, Between(0, 0.99)] = 0.1
    recovery: Annotated[float, Between(0, 0.9)] = 0.25  # share of the level it held; 0: never early
    cooldown: Duration = Duration(0)
    severity: Annotated[int, Between(1, 1000)] = 600
    ne107: Ne107 = Ne107.MAINTENANCE_REQUIRED  # the status signal of NAMUR NE 107
    failure_mode: str = ""
    message: dict[str, str] = field(default_factory=dict)  # language -> text
    advice: dict[str, str] = field(default_factory=dict)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class LearnedAlarm(AlarmRule):
    """The rule of a learned baseline: one noisy row raises no alarm."""

    implied: ClassVar = {"in_rows": (("on_delay", "off_delay"), False)}
    on_delay: Duration = Duration(5)
    in_rows: bool = True  # the delays follow the step of the model; default: unless one is told

    def at_step(self, step_s: float) -> AlarmRule:
        """The rule for a model with this step.

        on_delay: 5 s are five rows, at a longer step than 5 s two rows; off_delay: below a step of
        1 s as many rows as it has seconds, at least two steps, which are three rows.
        """
        if not (self.in_rows and step_s):
            return self
        on_s = min(self.on_delay * step_s, max(self.on_delay, step_s))
        off_s = (
            max(self.off_delay * min(1.0, step_s), _OFF_STEPS * step_s) if self.off_delay else 0.0
        )
        return replace(self, on_delay=Duration(on_s), off_delay=Duration(off_s))


@dataclass(frozen=True, slots=True)
class Follow:
    """How a learned baseline follows a machine that changes slowly."""

    budget: Annotated[float, Between(0, 100)] = 3.0  # sigmas; 0: it does not follow
    # An alarm that stands for this long while nothing moves any more is a new state; 0: never.
    settle_after: Duration = Duration(86_400)
    # So many such states are accepted until a person says «this is healthy»; 0: none.
    states: Annotated[int, Between(0, 1000)] = 5


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A bundle that scores the assets of a template."""

    bundle: Name
    name: Name = Name("")  # of this use and in its alarm's id; default: the bundle's
    inputs: dict[str, str] = field(default_factory=dict)  # model input -> signal, if they differ
    min_coverage: Annotated[float, Between(0, 1)] = 0.8
    lateness: Duration = Duration(5)  # how long a window waits for a late input
    when: Condition | None = None  # the model does not run while this is false
    alarm: AlarmRule = field(default_factory=AlarmRule)
    follow: Follow = field(default_factory=Follow)  # of a learned baseline


@dataclass(frozen=True, slots=True)
class Learn:
    """Learning a baseline on the gateway from healthy data; `learn: auto` for all defaults."""

    shorthand: ClassVar = {
        **{word: {"auto": True} for word in ("auto", "true", "True", "yes", "Yes", "on")},
        **{word: {"auto": False} for word in ("false", "False", "no", "No", "off")},
    }
    # Keys that other keys imply: by key, the keys that imply it, and its value.
    implied: ClassVar = {"auto": (("duration", "first_after", "grace"), True)}
    auto: bool | None = None  # default: true if one of these is given
    duration: Duration | None = None  # of good data; default: a day, at least 1024 rows
    first_after: Duration = Duration(900)  # of good data: a provisional baseline; 0: none
    grace: Duration | None = None  # after it an unusable input is left out; default: 5 min, 10 rows
    step: Annotated[Duration, Between(1e-4, 86400)] | None = None  # default: found from the data
    length: Annotated[int, Between(8, 4096)] | None = None  # default: 64
    inputs: tuple[str, ...] = ()  # default: every scalar signal
    mode: tuple[str, ...] = ()  # inputs that are conditions: set points, states of the machine
    cycle: Cycle | None = None  # a period, none, or the start signal; default: found from the data
    false_alarms_per_day: Annotated[float, Between(1e-4, 1e4)] = 0.1
    min_coverage: Annotated[float, Between(0, 1)] = 0.8
    lateness: Duration = Duration(5)
    when: Condition | None = None  # no learning and no scoring while this is false
    alarm: LearnedAlarm = field(default_factory=LearnedAlarm)  # of the learned model
    follow: Follow = field(default_factory=Follow)  # slow change

    @property
    def by_itself(self) -> bool:
        """True if the daemon learns without a command."""
        return bool(self.auto)

    @property
    def rows_needed(self) -> int:
        """The smallest number of complete rows that can be learned from."""
        return max(LEAST_ROWS, LEAST_WINDOWS * (self.length or DEFAULT_LENGTH))

    def rows_wanted(self, step_s: float) -> int:
        """The rows of the full baseline: those of `duration`, and enough if it is not told."""
        if self.duration is None:
            windows = _FULL_WINDOWS * (self.length or DEFAULT_LENGTH)
            return max(round(_DAY_S / step_s), _FULL_ROWS, windows)
        told = max(1, round(self.duration / step_s))
        return told if self.step is not None else max(told, self.rows_needed)


@dataclass(frozen=True, slots=True)
class Template:
    """The settings that assets of the same kind share."""

    signals: dict[Name, Signal] = field(default_factory=dict)
    models: tuple[ModelUse, ...] = ()
    learn: Learn | None = None
    bearing: Bearing | None = None
    when: Condition | None = None  # the machine runs; else models, learning and limits pause
    quality_alarm: AlarmRule = field(
        default_factory=lambda: AlarmRule(severity=300, ne107=Ne107.CHECK_FUNCTION)
    )


@dataclass(frozen=True, slots=True)
class Asset:
    """One machine. Its key in `assets` may hold a range: `P-{001..500}`."""

    template: Name
    area: Name = Name("")  # default: the gateway's
    line: Name = Name("")
    signals: dict[Name, Signal] = field(default_factory=dict)  # adds or replaces the template's
    limits: dict[Name, dict[Name, Limit]] = field(default_factory=dict)  # signal -> new or changed
    when: Condition | None = None  # replaces the template's
    bearing: Bearing | None = None  # replaces the template's
    variables: dict[str, str] = field(default_factory=dict)  # further {placeholders} for addresses


@dataclass(frozen=True, slots=True)
class Discovery:
    """Assets that announce themselves through a topic pattern."""

    max_assets: Annotated[int, Between(0, 100_000)] = 1000
    # An asset that never had all its signals and is silent for this long is removed; 0: never.
    forget_after: Duration = Duration(7 * 86400)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of the assets is this gateway's: each is monitored by one of `of` gateways."""

    index: Annotated[int, Between(0, 4095)] = 0
    of: Annotated[int, Between(1, 4096)] = 1

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong, as (key, message)."""
        if self.index >= self.of:
            yield "index", f"must be from 0 to {self.of - 1}: there are {self.of} shards"

    def owns(self, asset_id: str) -> bool:
        """True if an asset is monitored here.

        By rendezvous hashing (Thaler and Ravishankar, 1998): one shard more takes its share of the
        assets from all others, and moves no other asset.
        """
        if self.of == 1:
            return True
        weights = [_weight(asset_id, shard) for shard in range(self.of)]
        return max(range(self.of), key=weights.__getitem__) == self.index


def _weight(asset_id: str, shard: int) -> bytes:
    return blake2b(f"{shard}/{asset_id}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class PictureAlarm(AlarmRule):
    """When the pictures of a camera become an alarm."""

    over: Annotated[int, Between(1, 100)] = 2  # so many ...
    of: Annotated[int, Between(1, 100)] = 3  # ... of the last pictures are over the limit

    def problems(self) -> Iterator[tuple[str, str]]:
        """Contradictions, as (key, message)."""
        if self.over > self.of:
            yield "over", f"must be at most {self.of}: so many pictures are looked at (of)"


@dataclass(frozen=True, slots=True)
class PictureLearn:
    """Learning from good pictures on the gateway; `learn: auto` for all defaults."""

    shorthand: ClassVar = Learn.shorthand
    implied: ClassVar = {"auto": (("pictures", "spacing"), True)}
    auto: bool | None = None  # default: true if one of these is given
    pictures: Annotated[int, Between(50, 2000)] = 200  # so many good ones are collected
    spacing: Annotated[Duration, Between(0, 86_400)] = Duration(1)  # at least, between two of them


@dataclass(frozen=True, slots=True)
class PlantCamera(Camera):
    """A camera, with the model that judges its pictures, and its alarm."""

    bundle: Name = Name("")  # default: the one that is learned of its asset's pictures
    learn: PictureLearn | None = None
    alarm: PictureAlarm = field(default_factory=PictureAlarm)

    @property
    def judged_by(self) -> Name:
        """The bundle that judges its pictures; see `learning.pictures.picture_bundle_name`."""
        return self.bundle or Name(f"learned-pictures-{self.asset}"[:100])


@dataclass(frozen=True, slots=True)
class Alarms:
    """Settings for all alarms."""

    flood_limit: Annotated[int, Between(1, 10_000)] = 10  # raises per asset ...
    flood_window: Duration = Duration(600)  # ... in this time (ISA-18.2: 10 in 10 min)
    shelve_max: Duration = Duration(8 * 3600)
    languages: tuple[str, ...] = ("en", "zh", "ja", "de")
    # A source that is away for this long raises one alarm instead of those of its sensors.
    link_delay: Annotated[Duration, Between(0, 3600)] = Duration(10)
    sink_delay: Annotated[Duration, Between(0, 86_400)] = Duration(60)  # the same for a sink
    texts: Path | None = None  # a YAML file with further languages or other texts
    failure_modes: Path | None = None  # a YAML file with the plant's own causes, checks and mends


@dataclass(frozen=True, slots=True)
class Drift:
    """Inputs whose distribution has changed since their model was made."""

    enabled: bool = True
    limit: Annotated[float, Between(0.01, 100)] = 0.25  # of the population stability index
    memory: Annotated[Duration, Between(60, 30 * 86400)] | None = None  # a day, >= 512 windows
    severity: Annotated[int, Between(1, 1000)] = 200


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    gateway: Gateway = field(default_factory=Gateway)
    topic_root: Name = Name("edge")
    sources: dict[Name, SourceConfig] = field(default_factory=dict)  # by name; `type`: its kind
    sinks: dict[Name, Any] = field(default_factory=dict)
    templates: dict[Name, Template] = field(default_factory=dict)
    assets: dict[str, Asset] = field(default_factory=dict)
    lines: dict[Name, Line] = field(default_factory=dict)  # of machines, by name
    shifts: dict[Name, Calendar] = field(default_factory=dict)  # calendars, by name
    cameras: dict[Name, PlantCamera] = field(default_factory=dict)
    discovery: Discovery = field(default_factory=Discovery)
    shard: Shard = field(default_factory=Shard)
    standby: Standby = field(default_factory=Standby)
    models_dir: Path = Path("models")
    runtime: Runtime = field(default_factory=Runtime)
    remote: dict[Name, RemoteServer] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)
    alarms: Alarms = field(default_factory=Alarms)
    notify: Notify = field(default_factory=Notify)
    drift: Drift = field(default_factory=Drift)
    store: Store = field(default_factory=Store)
    labelled: Labelled = field(default_factory=Labelled)
    trends: Trends = field(default_factory=Trends)
    control_charts: dict[Name, ControlChart] = field(default_factory=dict)
    part_records: PartRecords = field(default_factory=PartRecords)
    pictures: Pictures = field(default_factory=Pictures)
    http: Http = field(default_factory=Http)
    inference: Inference = field(default_factory=Inference)
    opcua_server: OpcuaServer = field(default_factory=OpcuaServer)
    manuals: Manuals = field(default_factory=Manuals)
    language: Language = field(default_factory=Language)
    maintenance: Maintenance | None = None  # a plan of maintenance; default: none is made
    log: Log = field(default_factory=Log)
    tuning: Tuning = field(default_factory=Tuning)

    @property
    def labelled_folder(self) -> Path:
        """The folder of the labelled set."""
        return self.labelled.folder or self.store.path.with_name("labelled")

    @property
    def watched_cycles(self) -> frozenset[str]:
        """The assets whose cycle raises an alarm if it becomes longer."""
        lines = (one for one in self.lines.values() if one.bottleneck)
        return frozenset(
            str(asset)
            for one in lines
            if one.bottleneck and one.bottleneck.drift_alarm
            for asset in one.machines
        )

    def traits_of(self, source: str) -> SourceTraits:
        """The traits of a source; the defaults if the config has no source of that name."""
        struct = self.sources.get(Name(source))
        return SourceTraits() if struct is None else struct.traits
