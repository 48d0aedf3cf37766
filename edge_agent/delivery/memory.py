"""What a restart must know of the plant as it was before the last stop of the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection

    from edge_agent.plant import Plant


@dataclass(frozen=True, slots=True)
class Memory:
    """The discovered assets, and the path of every asset on the plant bus.

    Without the first, a restart would lose an alarm of a discovered asset; without the second, the
    retained alert of an asset that left the config could not be withdrawn.
    """

    discovered: tuple[tuple[str, str, str], ...] = ()  # asset id, template, line
    paths: dict[str, str] = field(default_factory=dict)  # asset id -> ISA-95 path

    @classmethod
    def of(cls, plant: Plant) -> Self:
        """Return the data of a plant that a restart needs."""
        return cls(
            tuple(
                (a.id, a.template_name, a.line if a.has_own_line else "") for a in plant.discovered
            ),
            {asset.id: asset.path for asset in plant.assets.values()},
        )

    def without(self, assets: Collection[str]) -> Memory:
        """Return it without these discovered assets; their paths stay, to withdraw their alarms."""
        kept = tuple(one for one in self.discovered if one[0] not in assets)
        return Memory(kept, self.paths)

    def beside(self, plant: Plant) -> Memory:
        """Return it with the paths of assets that it does not know."""
        return Memory(self.discovered, Memory.of(plant).paths | self.paths)

    def dump(self) -> bytes:
        """Encode as JSON."""
        return orjson.dumps({"discovered": self.discovered, "paths": self.paths})

    @classmethod
    def parse(cls, raw: bytes | None) -> Self:
        """Decode JSON; empty if another version wrote it differently."""
        try:
            data = orjson.loads(raw or b"{}")
            found = tuple((str(a), str(t), str(line)) for a, t, line in data["discovered"])
            return cls(found, {str(k): str(v) for k, v in data["paths"].items()})
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            return cls()
