"""What the service knew of the plant before it was started again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.plant import Plant


@dataclass(frozen=True, slots=True)
class Memory:
    """The assets that announced themselves, and where every asset stood on the plant bus.

    Without the first an alarm of a discovered asset would be forgotten by a restart; without the
    second the retained alert of an asset that left the config could not be withdrawn.
    """

    discovered: tuple[tuple[str, str, str], ...] = ()  # asset id, template, line
    paths: dict[str, str] = field(default_factory=dict)  # asset id -> ISA-95 path

    @classmethod
    def of(cls, plant: Plant) -> Self:
        """What is worth knowing of a plant."""
        return cls(
            tuple(
                (a.id, a.template_name, a.line if a.has_own_line else "") for a in plant.discovered
            ),
            {asset.id: asset.path for asset in plant.assets.values()},
        )

    def without(self, assets: Collection[str]) -> Memory:
        """The same without these discovered assets; where they stood is needed to withdraw them."""
        kept = tuple(one for one in self.discovered if one[0] not in assets)
        return Memory(kept, self.paths)

    def dump(self) -> bytes:
        """As JSON."""
        return orjson.dumps({"discovered": self.discovered, "paths": self.paths})

    @classmethod
    def parse(cls, raw: bytes | None) -> Self:
        """From JSON; what another version wrote differently is as good as nothing."""
        try:
            data = orjson.loads(raw or b"{}")
            found = tuple((str(a), str(t), str(line)) for a, t, line in data["discovered"])
            return cls(found, {str(k): str(v) for k, v in data["paths"].items()})
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return cls()
