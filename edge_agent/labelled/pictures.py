"""Pictures that raised an alarm, as the camera sent them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.labelled.files import occurrence_key

PICTURES: Final = "pictures"  # their folder in the folder of the labelled set
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """The picture of one occurrence of a camera's alarm.

    raised_us: when the alarm was raised; data: the JPEG or PNG file that the camera sent.
    """

    alarm_id: str
    asset: str
    raised_us: int
    data: bytes

    @property
    def key(self) -> str:
        """As `occurrence_key`."""
        return occurrence_key(self.asset, self.alarm_id, self.raised_us)

    @property
    def ending(self) -> str:
        """Of its file."""
        return ".png" if self.data.startswith(_PNG) else ".jpg"

    def encoded(self) -> bytes:
        """The content of its file: nothing is decoded."""
        return self.data
