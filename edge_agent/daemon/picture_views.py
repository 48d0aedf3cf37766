"""What was seen on a picture, for its alarm and for people: regions, boxes, contributions."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edge_agent.clock import US_PER_MS
from edge_agent.messages import Box, Contributor, PictureInfo
from edge_agent.serving import Region, regions_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edge_agent.config.cameras import View
    from edge_agent.models import Model
    from edge_agent.models.runtime.picture_process import Inspected
    from edge_agent.plant import PlantSignal
    from edge_agent.signals import EncodedPicture

_GREYS: Final = 255
_DIGITS: Final = 4


@dataclass(slots=True)
class SeenPicture:
    """A picture that was inspected.

    score, limit: None if no model judged it; heat: the map [h, w] in the unit of the score, of what
    is looked at; thumbnail: JPEG of the same. data: the picture as it came. faults: why it was not
    judged. regions: those above the limit, in parts of what is looked at.
    """

    picture_id: str
    camera: str
    asset: str
    at_us: int
    width: int
    height: int
    thumbnail: bytes
    part: str | None = None
    data: bytes = b""
    score: float | None = None
    limit: float | None = None
    heat: NDArray[np.float32] | None = None
    classes: dict[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    is_kept: bool = False

    @property
    def is_over(self) -> bool:
        """True if the score is over its limit."""
        return self.score is not None and self.limit is not None and self.score >= self.limit

    def regions(self) -> list[Region]:
        """The regions above the limit; none for a picture below it."""
        if not self.is_over or self.heat is None or self.limit is None:
            return []
        return regions_of(self.heat, self.limit)

    def facts(self) -> dict[str, Any]:
        """What the API shows of it, as plain JSON."""
        return {
            "id": self.picture_id,
            "camera": self.camera,
            "asset": self.asset,
            "at_ms": self.at_us // US_PER_MS,
            "part": self.part,
            "score": self.score,
            "limit": self.limit,
            "over": self.is_over,
            "classes": self.classes,
            "faults": list(self.faults),
            "width": self.width,
            "height": self.height,
            "regions": [_rounded(one) for one in self.regions()],
            "map": None if self.heat is None else map_json(self.heat),
        }


def seen_of(
    picture: EncodedPicture, signal: PlantSignal, answer: Inspected, model: Model | None
) -> SeenPicture:
    """What the process and a model, if there is one, found in a picture."""
    at_us = picture.at_ns // 1000
    seen = SeenPicture(
        f"{picture.camera}-{at_us:x}{secrets.token_hex(3)}",
        picture.camera,
        signal.asset.id,
        at_us,
        answer.width,
        answer.height,
        answer.thumbnail,
        picture.part,
        picture.data,
        faults=answer.faults,
    )
    outputs = None if model is None else answer.outputs.get(model.sha256)
    if model is None or outputs is None:
        return seen
    named = model.manifest.outputs.named()
    by_role = {role: outputs[tensor][None] for role, tensor in named.items()}
    seen.score = float(model.manifest.task_row.outputs_of(by_role).score[0])  # type: ignore[arg-type]
    seen.limit = float(model.manifest.threshold)
    seen.heat = None if "map" not in named else np.asarray(outputs[named["map"]], np.float32)
    if "probabilities" in named:
        shares = outputs[named["probabilities"]].tolist()
        seen.classes = dict(zip(model.manifest.classes, shares, strict=False))
    return seen


def _rounded(region: Region) -> dict[str, float]:
    return {name: round(value, _DIGITS) for name, value in region._asdict().items()}


def map_json(heat: NDArray[np.float32]) -> dict[str, Any]:
    """A map as grey levels 0 to 255 in base64, row by row, with the values of both ends."""
    finite = heat[np.isfinite(heat)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    share = np.nan_to_num((heat - low) / ((high - low) or 1.0), nan=0.0, posinf=1.0, neginf=0.0)
    grey = (share.clip(0, 1) * _GREYS).round().astype(np.uint8)
    rows, columns = heat.shape
    return {
        "width": columns,
        "height": rows,
        "low": low,
        "high": high,
        "values": base64.b64encode(grey.tobytes()).decode("ascii"),
    }


def boxes_of(regions: Sequence[Region], view: View, width: int, height: int) -> tuple[Box, ...]:
    """Regions of what is looked at as boxes in pixels of the picture as it came."""
    return tuple(_box(one, view, width, height) for one in regions)


def _box(region: Region, view: View, width: int, height: int) -> Box:
    corners = [
        _as_it_came(x, y, view)
        for x, y in ((region.left, region.top), (region.right, region.bottom))
    ]
    x0, x1 = sorted(round(x * width) for x, _ in corners)
    y0, y1 = sorted(round(y * height) for _, y in corners)
    return Box(x0, y0, max(1, x1 - x0), max(1, y1 - y0), round(region.share, _DIGITS))


def _as_it_came(x: float, y: float, view: View) -> tuple[float, float]:
    """A place in what is looked at as one in the picture, both as shares."""
    left, top, right, bottom = view.region
    x, y = left + x * (right - left), top + y * (bottom - top)
    turned = {0: (x, y), 90: (y, 1 - x), 180: (1 - x, 1 - y), 270: (1 - y, x)}
    return turned[view.rotate]


def info_of(seen: SeenPicture, regions: Sequence[Region], view: View) -> PictureInfo:
    """The picture of an alarm."""
    boxes = boxes_of(regions, view, seen.width, seen.height)
    return PictureInfo(seen.picture_id, seen.camera, seen.width, seen.height, boxes)


def contributors_of(
    seen: SeenPicture, regions: Sequence[Region], picture: PictureInfo
) -> tuple[Contributor, ...]:
    """The share of each region in the score; they sum to it. Of a picture without regions, none."""
    if seen.score is None:
        return ()
    return tuple(
        Contributor(
            f"{seen.camera} {box.x},{box.y} {box.width}×{box.height}",  # noqa: RUF001 (a size)
            seen.score * region.share,
            region.peak,
            "",
        )
        for region, box in zip(regions, picture.boxes, strict=True)
    )


def rate_hz(arrived_s: Sequence[float], now_s: float) -> float | None:
    """Pictures a second lately; None if too few came."""
    if len(arrived_s) < 2:  # noqa: PLR2004 (an interval)
        return None
    span_s = max(arrived_s[-1] - arrived_s[0], 1e-3)
    mean_s = span_s / (len(arrived_s) - 1)
    silent_s = now_s - arrived_s[-1]
    return round(1.0 / max(mean_s, silent_s), 3)
