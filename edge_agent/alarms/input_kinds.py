"""What an input measures, by its unit and its name, for advice when no failure mode is known."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

OTHER: Final = "value"

# A unit decides; without one the words of the name do.
_UNITS: Final = {
    "temperature": "°C °F K degC degF ℃ ℉ Cel",
    "vibration": "mm/s in/s m/s² m/s2 m/s^2 mm/s² mm/s2 g gE µm um μm mil",
    "pressure": "bar mbar Pa hPa kPa MPa psi psig barg bara mmHg mH2O mWC kgf/cm2 kgf/cm²",
    "flow": "l/min L/min l/s L/s l/h L/h m³/h m3/h m³/s m3/s m³/min m3/min kg/h kg/s t/h gpm Nm³/h",
    "current": "A mA kA",
    "speed": "rpm 1/min min-1 min⁻¹ r/min rev/min U/min 1/s rps",
}
_WORDS: Final = {
    "temperature": "temp(?!l|o)|thermo|therm|温|温度|temperatur",
    "vibration": "vib|accel|acc|velocity_rms|shock|schwing|振",
    "pressure": "press|druck|suction|discharge|dp|压|圧",
    "flow": "flow|durchfluss|流量",
    "current": "current|strom|amp|amps|电流|電流",
    "speed": "speed|rpm|drehzahl|转速|回転|速度",
    "level": "level|füllstand|fuellstand|stand|液位|レベル",
}
_KIND_OF_UNIT: Final = {unit: kind for kind, units in _UNITS.items() for unit in units.split()}
# A latin word begins where no letter is before it: "template" is no temperature, "oil_temp" is.
_KIND_OF_WORD: Final = [
    (kind, re.compile(rf"(?:(?<![a-z])|(?<=[^\W\x00-\x7f]))(?:{words})"))
    for kind, words in _WORDS.items()
]
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@lru_cache(maxsize=2048)
def kind_of_input(name: str, unit: str) -> str:
    """`temperature`, `vibration`, `pressure`, `flow`, `current`, `speed`, `level` or `value`."""
    if kind := _KIND_OF_UNIT.get(unit.strip()):
        return kind
    words = _CAMEL.sub("_", name).lower()
    return next((kind for kind, found in _KIND_OF_WORD if found.search(words)), OTHER)
