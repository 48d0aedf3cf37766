"""Cameras as the page sees them, from lists: drawn pictures of a weld seam, one with a hole."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from status_support import now_ms

from edge_agent.daemon.picture_views import SeenPicture

WIDTH, HEIGHT = 320, 180
CELLS = 28
LIMIT = 1.0


def drawn(number: int, *, defect: bool) -> bytes:
    """A JPEG of a seam on brushed metal."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    grey = (
        120 + 12 * random.standard_normal((HEIGHT, 1)) + 4 * random.standard_normal((HEIGHT, WIDTH))
    )
    seam = np.exp(-(((y - 90 - 6 * np.sin(x / 40 + number)) / 14) ** 2))
    grey += 70 * seam * (0.8 + 0.2 * np.sin(x / 3.0))
    if defect:
        grey -= 130 * np.exp(-(((x - 205) / 14) ** 2) - ((y - 96) / 12) ** 2)
    out = io.BytesIO()
    pixels = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()


def heat(number: int, *, defect: bool) -> np.ndarray:
    """The map of such a picture."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[:CELLS, :CELLS]
    found = 0.35 + 0.08 * random.random((CELLS, CELLS))
    if defect:
        found += 2.1 * np.exp(-(((x - 18) / 1.6) ** 2) - ((y - 15) / 2.0) ** 2)
    return found.astype(np.float32)


class ListCameras:
    """`service.camera_api.CameraProvider` with one camera, and one that learns."""

    def __init__(self) -> None:
        self.seen = [self._picture(n, defect=n in {0, 3}) for n in range(8)]

    def _picture(self, n: int, *, defect: bool) -> SeenPicture:
        found = heat(n, defect=defect)
        at_us = (now_ms() - 4000 * n - 1500) * 1000
        seen = SeenPicture(
            f"seam-{n:x}",
            "seam",
            "P-042",
            at_us,
            WIDTH,
            HEIGHT,
            drawn(n, defect=defect),
            f"S-20{8 - n}",
        )
        seen.score, seen.limit, seen.heat = float(found.max()), LIMIT, found
        return seen

    def rows(self) -> list[dict[str, Any]]:
        row: dict[str, Any] = {
            "camera": "seam",
            "asset": "P-042",
            "alarm_id": "P-042.seam",
            "last_ms": now_ms() - 1500,
            "rate_hz": 0.25,
            "quality": "good",
            "faults": [],
            "error": "",
            "score": self.seen[0].score,
            "limit": LIMIT,
            "learning": None,
            "model": "learned-pictures-P-042",
            "version": "20261127T120000Z-1a2b3c4d",
            "pictures": 1200,
            "dropped": 0,
            "refused": 2,
        }
        learns = {"rows": 84, "wanted_rows": 200, "progress": 0.42, "failure": "", "obstacle": ""}
        blind = {"camera": "lid", "asset": "P-007", "alarm_id": "P-007.lid", "quality": "bad"}
        young = {"camera": "press", "asset": "P-010", "alarm_id": "P-010.press"}
        none = {"score": None, "limit": None, "model": None, "version": None}
        return [
            row,
            row | blind | {"faults": ["blurred"]},
            row | young | none | {"learning": learns},
        ]

    async def pictures(self, name: str, count: int) -> list[dict[str, Any]] | None:
        if name not in {row["camera"] for row in self.rows()}:
            return None
        return [one.facts() for one in self.seen[:count]] if name == "seam" else []

    async def thumbnail(self, picture_id: str) -> bytes | None:
        found = [one.thumbnail for one in self.seen if one.picture_id == picture_id]
        return found[0] if found else None
