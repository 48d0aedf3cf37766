"""What the page, the API and the service alarms say of learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge_agent.messages import Detail, Fault

if TYPE_CHECKING:
    from edge_agent.daemon.daemon import Daemon
    from edge_agent.learning import Learning, Training
    from edge_agent.pipeline import Pipeline

_NAMED: Final = 3  # assets in one line
_MINUTE_S: Final = 60.0


def learning_faults(daemon: Daemon) -> list[Fault]:
    """What keeps assets from learning: one fault a template, and one where nothing can."""
    pipeline, problem = daemon.runtime.pipeline, daemon.runtime.models.write_problem
    found = []
    if problem and any(_open(learning) for learning in pipeline.learning.values()):
        found.append(Fault("learning", problem, Detail("learning_failed", {"reason": problem})))
    obstacles = pipeline.learning.obstacles()
    now_s = daemon.clock.monotonic_s()
    for template, learning in pipeline.learning.items():
        what = f"learning.{template}"
        failed = [one for one in _open(learning) if one.failure]
        blocked = [one.asset.id for one in _open(learning) if one.asset.id in obstacles]
        if failed and not problem:
            wait_min = max(0.0, failed[0].retry_s - now_s) / _MINUTE_S
            reason = f"{_named([one.asset.id for one in failed])}: {failed[0].failure}"
            text = f"learning failed: {reason}; the rows are kept, next try in {wait_min:.0f} min"
            found.append(Fault(what, text, Detail("learning_failed", {"reason": reason})))
        elif blocked:
            reason = f"{_named(blocked)} {obstacles[blocked[0]]}"
            text = f"learning stands still: {reason}"
            found.append(Fault(what, text, Detail("learning_blocked", {"reason": reason})))
    return found


def _open(learning: Learning) -> list[Training]:
    return [one for one in learning.trainings if not one.is_done]


def _named(assets: list[str]) -> str:
    more = len(assets) - _NAMED
    return ", ".join(assets[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def learning_rows(pipeline: Pipeline) -> list[dict[str, Any]]:
    """How far each asset is, as the API shows it."""
    obstacles = pipeline.learning.obstacles()
    return [
        {
            "asset": one.asset.id,
            "progress": round(min(1.0, rows / learning.wanted_rows), 3),
            "rows": rows,
            "wanted_rows": learning.wanted_rows,
            "left_out": learning.left_out(one),
            "obstacle": obstacles.get(one.asset.id, ""),
            "failure": one.failure,
        }
        for learning in pipeline.learning.values()
        for one in _open(learning)
        for rows in (one.choice.complete(),)
    ]


def export_learning(daemon: Daemon) -> None:
    """Bring the gauges of learning up to date; those of assets that do not learn go."""
    metrics = daemon.metrics
    gauges = metrics.learning_progress, metrics.learning_stopped
    for gauge in (*gauges, metrics.baseline_provisional_seconds):
        gauge.clear()
    for row in learning_rows(daemon.runtime.pipeline):
        metrics.learning_progress.labels(row["asset"]).set(row["progress"])
        stopped = bool(row["obstacle"] or row["failure"])
        metrics.learning_stopped.labels(row["asset"]).set(stopped)
    for asset, seconds in daemon.runtime.models.provisional().items():
        metrics.baseline_provisional_seconds.labels(asset).set(seconds)


def notes(daemon: Daemon) -> dict[str, str]:
    """By asset, what is to be known of its models and its learning."""
    pipeline, models = daemon.runtime.pipeline, daemon.runtime.models
    found = {asset: [why] for asset, why in models.without.items() if why != "learning"}
    for asset, seconds in models.provisional().items():
        minutes = seconds / _MINUTE_S
        found.setdefault(asset, []).append(f"provisional baseline from {minutes:.0f} min of data")
    for row in learning_rows(pipeline):
        found.setdefault(row["asset"], []).append(_learning_note(row))
    for asset, (rows, length) in pipeline.deployments.first_windows().items():
        found.setdefault(asset, []).append(f"warming {rows}/{length} rows")
    for asset, text in daemon.resolution.notes().items():
        found.setdefault(asset, []).append(text)
    for asset, names in models.left_out().items():
        found.setdefault(asset, []).append(f"learned without {names}")
    return {asset: "; ".join(parts) for asset, parts in found.items()}


def _learning_note(row: dict[str, Any]) -> str:
    text = f"learning {100 * row['progress']:.0f} %"
    if row["obstacle"]:
        text += f", stands still {row['obstacle']}"
    if row["left_out"]:
        text += ", without " + ", ".join(f"{n} ({why})" for n, why in row["left_out"].items())
    return text + (f", failed: {row['failure']}" if row["failure"] else "")
