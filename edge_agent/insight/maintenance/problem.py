"""What is to be planned, and a plan: plain data, in slots of a quarter of an hour.

Slots count from the epoch (UTC). Money is in cents, so that sums are exact and plans compare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import US_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edge_agent.insight.maintenance.risk import Risk

SLOT_S: Final = 900
SLOT_US: Final = SLOT_S * US_PER_S
UNPLACED: Final = 2  # times its loss, as being late counts once


def slot_after(time_us: int) -> int:
    """The first slot that begins at or after a time."""
    return -(-time_us // SLOT_US)


def slot_before(time_us: int) -> int:
    """The slot in which a time is: the last that begins at or before it."""
    return time_us // SLOT_US


@dataclass(frozen=True, slots=True)
class Job:
    """Work on one asset. due: the last slot in which it may begin; length: slots of work.

    loss: cents that a failure costs; alarms: ids of the alarms behind it.
    """

    id: str
    asset: str
    mode: str
    due: int
    length: int
    loss: int
    risk: Risk
    people: int = 1
    skills: frozenset[str] = frozenset()
    parts: tuple[tuple[str, int], ...] = ()
    needs_stop: bool = True


@dataclass(frozen=True, slots=True)
class Stop:
    """The assets stand from slot `first` to before `last`; running: they do not, it is a day.

    assets: of those with jobs.
    """

    id: str
    name: str
    first: int
    last: int
    assets: frozenset[str]
    running: bool = False


@dataclass(frozen=True, slots=True)
class Team:
    """A crew with its working times as (first, last) slots, in order."""

    name: str
    skills: frozenset[str]
    count: int
    shifts: tuple[tuple[int, int], ...]


class Part(NamedTuple):
    """A spare part: `stock` now, and any number from slot `arrives` on."""

    stock: int
    arrives: int


class Placement(NamedTuple):
    """A job in a stop by a crew (their numbers), from slot `first` to before `last`."""

    job: int
    stop: int
    team: int
    first: int
    last: int
    slots: tuple[int, ...]  # in which the crew works on it


class Value(NamedTuple):
    """What a plan is compared by: the loss of jobs that are late, then what it is expected to cost.

    Smaller is better; both in cents.
    """

    late: int
    cost: int


@dataclass(frozen=True)
class Problem:
    """All jobs, stops (in order of time), crews and parts.

    now_us, until_us: the span that is planned. before: by job id, the stop and crew of the last
    plan; change: the share of its loss that another one costs.
    """

    now_us: int
    until_us: int
    jobs: tuple[Job, ...]
    stops: tuple[Stop, ...]
    teams: tuple[Team, ...]
    parts: Mapping[str, Part] = field(default_factory=dict)
    before: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    change: float = 0.0

    @cached_property
    def waiting(self) -> list[list[int]]:
        """Cents that each job [jobs] is expected to cost until each stop [stops]."""
        starts = [max(stop.first * SLOT_US, self.now_us) for stop in self.stops]
        return [[self.expected(job, start) for start in starts] for job in self.jobs]

    def expected(self, job: Job, until_us: int) -> int:
        """Cents: the probability of a failure until then, times the loss."""
        return round(job.risk.probability(self.now_us, until_us) * job.loss)

    @cached_property
    def unplaced(self) -> list[int]:
        """The expected cost of each job that is in no stop."""
        return [self.expected(job, self.until_us) for job in self.jobs]

    @cached_property
    def choices(self) -> list[list[tuple[int, int, int]]]:
        """By job: (cost, stop, crew) of all that are allowed, the cheapest first."""
        return [sorted(self._choices(number, job)) for number, job in enumerate(self.jobs)]

    def _choices(self, number: int, job: Job) -> Iterable[tuple[int, int, int]]:
        for s, stop in enumerate(self.stops):
            if not self.allows(job, stop):
                continue
            for t, team in enumerate(self.teams):
                if is_fit(job, team) and len(self.times(s, t)) >= job.length:
                    yield self.cost(number, s, t), s, t

    def allows(self, job: Job, stop: Stop) -> bool:
        """True if the job may be done in the stop, whoever does it."""
        return job.asset in stop.assets and stop.running is not job.needs_stop

    def cost(self, job: int, stop: int, team: int) -> int:
        """Cents of a job in a stop: the expected failure until then, and that of a change."""
        one, names = self.jobs[job], (self.stops[stop].id, self.teams[team].name)
        known = self.before.get(one.id)
        moved = known is not None and tuple(known) != names
        return self.waiting[job][stop] + (round(self.change * one.loss) if moved else 0)

    def times(self, stop: int, team: int) -> list[int]:
        """The slots in which a crew works within a stop, from now on."""
        found = self._times.get((stop, team))
        if found is None:
            one, begin = self.stops[stop], max(self.stops[stop].first, slot_after(self.now_us))
            found = self._times[stop, team] = [
                slot
                for first, last in self.teams[team].shifts
                if last > begin and first < one.last
                for slot in range(max(first, begin), min(last, one.last))
            ]
        return found

    @cached_property
    def _times(self) -> dict[tuple[int, int], list[int]]:
        return {}

    def is_late(self, placement: Placement) -> bool:
        """True if the job begins after it is due."""
        return placement.first > self.jobs[placement.job].due

    def value(self, placements: Iterable[Placement]) -> Value:
        """What a plan is compared by."""
        placed = {one.job: one for one in placements}
        late = cost = 0
        for number, job in enumerate(self.jobs):
            one = placed.get(number)
            if one is None:
                late += UNPLACED * job.loss
                cost += self.unplaced[number]
            else:
                late += self.is_late(one) * job.loss
                cost += self.cost(number, one.stop, one.team)
        return Value(late, cost)


def is_fit(job: Job, team: Team) -> bool:
    """True if a crew has the skills and the people for a job."""
    return job.skills <= team.skills and job.people <= team.count


class Schedule:
    """Jobs that are placed; `earliest` finds a place beside them."""

    def __init__(self, problem: Problem, placed: Sequence[Placement] = ()) -> None:
        self.problem = problem
        self.placed: dict[int, Placement] = {}
        self._busy: list[dict[int, int]] = [{} for _ in problem.teams]
        self._assets: dict[str, list[tuple[int, int]]] = {}
        self._used: dict[str, int] = {}
        for one in placed:
            self.place(one)

    def earliest(self, job: int, stop: int, team: int) -> Placement | None:
        """The earliest place of a job in a stop by a crew; None if there is none.

        Work pauses with the crew's shift and goes on with its next one in the same stop.
        """
        times, length = self.problem.times(stop, team), self.problem.jobs[job].length
        busy = self._busy[team]
        free = self.problem.teams[team].count - self.problem.jobs[job].people
        begin = 0
        while begin + length <= len(times):
            inside = range(begin + length - 1, begin - 1, -1)
            full = next((n for n in inside if busy.get(times[n], 0) > free), None)
            if full is not None:  # nothing that includes this slot fits
                begin = full + 1
                continue
            slots = tuple(times[begin : begin + length])
            one = Placement(job, stop, team, slots[0], slots[-1] + 1, slots)
            if self.fits(one):
                return one
            begin += 1
        return None

    def fits(self, one: Placement) -> bool:
        """True if crew, asset and parts are free for it."""
        job = self.problem.jobs[one.job]
        free = self.problem.teams[one.team].count - job.people
        busy = self._busy[one.team]
        if any(busy.get(slot, 0) > free for slot in one.slots):
            return False
        taken = self._assets.get(job.asset, ())
        if any(first < one.last and one.first < last for first, last in taken):
            return False
        return self.has_parts(one)

    def has_parts(self, one: Placement) -> bool:
        """True if the parts are there when the work begins."""
        return all(
            one.first >= part.arrives or self._used.get(name, 0) + count <= part.stock
            for name, count in self.problem.jobs[one.job].parts
            for part in (self.problem.parts[name],)
        )

    def place(self, one: Placement) -> None:
        """Put a job where it fits."""
        job, busy = self.problem.jobs[one.job], self._busy[one.team]
        self.placed[one.job] = one
        for slot in one.slots:
            busy[slot] = busy.get(slot, 0) + job.people
        self._assets.setdefault(job.asset, []).append((one.first, one.last))
        self._count_parts(one, 1)

    def remove(self, number: int) -> Placement:
        """Take a job out again."""
        one = self.placed.pop(number)
        job, busy = self.problem.jobs[number], self._busy[one.team]
        for slot in one.slots:
            busy[slot] -= job.people
        self._assets[job.asset].remove((one.first, one.last))
        self._count_parts(one, -1)
        return one

    def _count_parts(self, one: Placement, sign: int) -> None:
        for name, count in self.problem.jobs[one.job].parts:
            if one.first < self.problem.parts[name].arrives:
                self._used[name] = self._used.get(name, 0) + sign * count

    @property
    def value(self) -> Value:
        """What the plan is compared by."""
        return self.problem.value(self.placed.values())


def problems_of(problem: Problem, placements: Sequence[Placement]) -> list[str]:
    """What is wrong with a plan, one line each: rules that no plan may break."""
    found, schedule = [], Schedule(problem)
    for one in sorted(placements, key=lambda each: each.first):
        job = problem.jobs[one.job]
        stop, team = problem.stops[one.stop], problem.teams[one.team]
        inside = set(problem.times(one.stop, one.team))
        if not (problem.allows(job, stop) and is_fit(job, team) and inside.issuperset(one.slots)):
            found.append(f"{job.id}: not allowed in {stop.id} by {team.name}")
        if len(one.slots) != job.length or one.job in schedule.placed or not schedule.fits(one):
            found.append(f"{job.id}: in conflict in {stop.id}")
        else:
            schedule.place(one)
    return found
