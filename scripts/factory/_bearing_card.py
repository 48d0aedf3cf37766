"""What only the author of the bearing model knows; the factory adds the rest of the card."""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = (
    "All sizes of damage but one are learned from, that one is judged, in windows of 1.37 s. "
    "Damage of 28 mil (balls and inner races only) is always learned from, and is a fold of its "
    "own. The healthy state was recorded once, at load 0: in every fold its beginning is learned "
    "from and its end is judged. Gate and temperature come from the sizes that are learned from; "
    "the regressions are averaged, not selected."
)
TRIED: Final = ()
CARD: Final = {"About": "x"}
