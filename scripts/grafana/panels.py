"""What a dashboard consists of, as typed data, and the JSON that Grafana imports.

A query that counts troubles has no series before the first trouble: `quiet` draws 0 instead.
Of a feature that a gateway does not use there is nothing to draw, and 0 would be wrong: `optional`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["timeseries", "stat", "bargauge", "state-timeline", "table"]

GRID_WIDTH: Final = 24  # columns of Grafana's grid
NONE_IS_ZERO: Final = " or on () vector(0)"
_SCHEMA_VERSION: Final = 39  # Grafana 10.4 and later read it
_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}
_GREEN: Final = "green"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; legend: with {{label}}; in a table it is the name of the column.

    expr: `$here` stands for the selectors of what is chosen above the dashboard, and `$every` for
    the range of a rate. quiet: no series means 0, as the daemon makes it with the first event.
    optional: there is no series where the config does not use the feature.
    """

    expr: str
    legend: str = ""
    quiet: bool = False
    optional: bool = False

    def asked(self, here: str) -> str:
        """The expression as the panel asks it; here: the selectors."""
        expr = self.expr.replace("$here", here).replace("$every", "$__rate_interval")
        return f"({expr}){NONE_IS_ZERO}" if self.quiet else expr


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of queries; unit: of Grafana's units; text: what it shows and when to worry.

    steps: (from this value on, colour), ascending; below the first it is green. names: words for
    values. low: the colour below the first step, if small values are the bad ones.
    """

    title: str
    text: str
    queries: Sequence[Query]
    kind: Kind = "timeseries"
    unit: str = "short"
    width: int = 8
    height: int = 7
    steps: Sequence[tuple[float, str]] = ()
    low: str = _GREEN
    top: float | None = None  # of the axis
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # value: text, colour


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one headline; they fill lines of 24 columns from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice above the dashboard: the values of a label of a metric.

    several: more than one can be chosen. everywhere: it is a part of `$here`; the label of another
    one stands only in the queries of the metrics that have it.
    """

    label: str
    metric: str
    several: bool = True
    everywhere: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; uid: its address in Grafana, and the name of its file."""

    uid: str
    title: str
    text: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def here(self) -> str:
        """The selectors of what is chosen."""
        labels = [one.label for one in self.variables if one.everywhere]
        return ", ".join(f'{label}=~"${label}"' for label in labels)

    def panels(self) -> Iterator[Panel]:
        """Every panel."""
        for row in self.rows:
            yield from row.panels


def to_json(board: Board, boards: Sequence[Board]) -> Json:
    """The dashboard as Grafana imports it; boards: all, each of which is linked from it."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.text,
        "tags": ["edge-agent"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one cursor over all panels
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [_link(one) for one in boards if one is not board],
        "templating": {"list": [_data_source(), *_variables(board.variables)]},
        "panels": list(_panels(board)),
    }


def _link(board: Board) -> Json:
    return {
        "title": board.title,
        "type": "link",
        "url": f"/d/{board.uid}",
        "includeVars": True,
        "keepTime": True,
    }


def _data_source() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
    }


def _variables(variables: Sequence[Variable]) -> Iterator[Json]:
    """Each depends on those before it, so that one sees only what belongs together."""
    chosen: list[str] = []
    for one in variables:
        within = ", ".join(f'{label}=~"${label}"' for label in chosen)
        query = f"label_values({one.metric}{{{within}}}, {one.label})"
        yield {
            "name": one.label,
            "label": one.label.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "definition": query,
            "query": {"query": query, "refId": "values"},
            "refresh": 2,  # with the time range
            "sort": 1,
            "multi": one.several,
            "includeAll": one.several,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"} if one.several else {},
        }
        chosen.append(one.label)


def _panels(board: Board) -> Iterator[Json]:
    """The panels and their places: a row is filled from left to right, then the next line."""
    number = y = 0
    for row in board.rows:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": GRID_WIDTH, "x": 0, "y": y},
            "panels": [],
        }
        y, x, tallest = y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                y, x, tallest = y + tallest, 0, 0
            number += 1
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            yield {"id": number, "gridPos": place, **_panel(panel, board.here)}
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def _panel(panel: Panel, here: str) -> Json:
    made = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "targets": [_target(panel, n, one.asked(here)) for n, one in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
    }
    return made | ({"transformations": _one_table(panel)} if panel.kind == "table" else {})


def _target(panel: Panel, number: int, expr: str) -> Json:
    is_now = panel.kind in {"stat", "bargauge", "table"}
    return {
        "refId": chr(ord("A") + number),
        "datasource": _SOURCE,
        "expr": expr,
        "legendFormat": panel.queries[number].legend or "__auto",
        "instant": is_now,
        "range": not is_now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    steps: list[Json] = [{"color": panel.low, "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.steps]
    made: Json = {
        "unit": panel.unit,
        "min": 0 if panel.kind in {"timeseries", "bargauge"} else None,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "custom": _CUSTOM.get(panel.kind, {}),
        "mappings": [{"type": "value", "options": _words(panel)}] if panel.names else [],
    }
    if panel.top is not None:
        made["max"] = panel.top
    if any(query.optional for query in panel.queries):
        made["noValue"] = "not in use"
    return {key: value for key, value in made.items() if value is not None}


def _words(panel: Panel) -> Json:
    named = panel.names.items()
    return {str(value): {"text": text, "color": colour} for value, (text, colour) in named}


def _one_table(panel: Panel) -> list[Json]:
    """Join the queries by their labels, and name the columns of values by the legends."""
    columns = {f"Value #{chr(ord('A') + n)}": q.legend for n, q in enumerate(panel.queries)}
    hidden = {"Time": True, "__name__": True, "job": True}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": columns}},
    ]


_LEGEND: Final[Json] = {"displayMode": "list", "placement": "bottom", "showLegend": True}
_LAST: Final[Json] = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: Final[dict[Kind, Json]] = {
    "timeseries": {"legend": _LEGEND, "tooltip": {"mode": "multi", "sort": "desc"}},
    "stat": {"reduceOptions": _LAST, "colorMode": "value", "graphMode": "none", "textMode": "auto"},
    "bargauge": {"reduceOptions": _LAST, "orientation": "horizontal", "displayMode": "basic"},
    "state-timeline": {"legend": _LEGEND, "mergeValues": True, "showValue": "never"},
    "table": {"showHeader": True, "cellHeight": "sm"},
}
_CUSTOM: Final[dict[Kind, Json]] = {
    "timeseries": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False},
    "state-timeline": {"fillOpacity": 80, "lineWidth": 0},
}
