"""The bundle of a model that learned good pictures: manifest, golden vectors, card."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.config.types import Name
from edge_agent.learning.pictures.backbone import LICENCE, PACKAGE
from edge_agent.learning.pictures.graph import PICTURE, anomaly_graph
from edge_agent.models import (
    Golden,
    InputSpec,
    OutputNames,
    PictureManifest,
    Task,
    learned_version,
    open_session,
    write_bundle,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edge_agent.learning.pictures.fit import Fitted
    from edge_agent.models import Manifest
    from edge_agent.signals import Look

_GOLDEN: Final = 4  # good pictures, and as many with drawn defects
FINDS: Final = "finds_drawn_"  # and the kind of defect: keys in the manifest's `calibration`


@dataclass(frozen=True, slots=True)
class PictureBundle:
    """A learned model of pictures, ready to be written."""

    manifest: PictureManifest
    onnx_bytes: bytes
    golden: Golden

    def write(self, folder: Path) -> Manifest:
        """Write the bundle; see `write_bundle`."""
        card = {"card.md": card_of(self.manifest).encode()}
        return write_bundle(folder, self.manifest, self.onnx_bytes, self.golden, extras=card)


def picture_bundle(
    name: str, fitted: Fitted, look: Look, training: dict[str, str], now_us: int
) -> PictureBundle:
    """The bundle of what was learned. look: of the good pictures; training: facts about them."""
    side = fitted.good.shape[1]
    raw = anomaly_graph(fitted.head, side)
    found = {f"{FINDS}{kind}": f"{share:.0%}" for kind, share in fitted.found.items()}
    manifest = PictureManifest(
        name=Name(name),
        version=learned_version(now_us, raw),
        task=Task.ANOMALY,
        inputs=(InputSpec(PICTURE, kind=PICTURE, length=side),),
        outputs=OutputNames(score="score", map="map"),
        threshold=1.0,
        look={key: float(f"{value:.6g}") for key, value in asdict(look).items()},
        calibration=fitted.limit.facts() | found,
        training=training | {"backbone": f"{PACKAGE}, {LICENCE}"},
    )
    return PictureBundle(manifest, raw, _golden(raw, fitted))


def _golden(raw: bytes, fitted: Fitted) -> Golden:
    """Good pictures from the most usual one on, and those with defects that stand out most."""
    good, drawn = fitted.good[:_GOLDEN], fitted.drawn[-_GOLDEN:]
    pictures: NDArray[np.uint8] = np.concatenate([good, drawn])
    session = open_session(raw)
    found = [session.run(["score", "map"], {PICTURE: each[None]}) for each in pictures]
    score, places = (np.concatenate(each) for each in zip(*found, strict=True))
    return Golden(
        {PICTURE: pictures}, {"score": score, "map": places}, (score >= 1).astype(np.int64)
    )


def card_of(manifest: PictureManifest) -> str:
    """The card: what it was learned from, and what it promises."""
    calibration = manifest.calibration
    finds = {k.removeprefix(FINDS): v for k, v in calibration.items() if k.startswith(FINDS)}
    limits = {k: v for k, v in calibration.items() if not k.startswith(FINDS)}
    lines = [f"# {manifest.name} {manifest.version}", ""]
    lines += ["A model of good pictures: its score is 1 at the limit.", "", "## Learned from"]
    lines += [f"- {key}: {value}" for key, value in manifest.training.items()]
    lines += ["", "## The limit"] + [f"- {key}: {value}" for key, value in limits.items()]
    lines += ["", "## Drawn defects at or above the limit", ""]
    lines += ["Drawn into pictures that were learned; real defects may be easier or harder.", ""]
    return "\n".join([*lines, *(f"- {kind}: {share}" for kind, share in finds.items()), ""])
