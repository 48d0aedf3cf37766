"""The author's text of the bearing model's card; the factory adds the rest."""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = (
    "All sizes of damage but one are learned from, that one is judged, in windows of 1.37 s. "
    "Damage of 28 mil (balls and inner races only) is always learned from, and is a fold of its "
    "own. The healthy state was recorded once, at load 0: in every fold its beginning is learned "
    "from and its end is judged. Gate and temperature come from the sizes that are learned from; "
    "the regressions are averaged, not selected. That the spectrum below 2 kHz is left out is "
    "knowledge of the trade (impacts ring high, the machine's forces lie low), not a finding of "
    "the inner folds: see what was tried."
)
# Accuracy with 7, 14 and 21 mil left out, measured during development by programs not kept.
TRIED: Final = (
    (
        "the whole spectrum beside the lines, chosen by inner folds (cutoff of the spectrum 0 to "
        "3 kHz, window 0.68 to 2.7 s, regularisation; four criteria): 91 to 100 / 47 to 66 / "
        "50 to 93; inner folds do not tell that the low bands mislead"
    ),
    (
        "above 2 kHz, one regression chosen by inner accuracy 93 / 95 / 89, by inner "
        "cross-entropy 100 / 81 / 93; the average of all, chosen after these were seen, "
        "96 / 99 / 100"
    ),
    "averages for windows of 0.68, 1.37 and 2.7 s: 100 / 99 / 97, 97 / 99 / 100, 95 / 100 / 100",
    (
        "other classifiers, mean over six transfers from one size to another, each class alike: "
        "logistic regression on lines and spectrum 92, linear discriminant 88, lines alone 79, "
        "forest on the spectrum alone 67"
    ),
    (
        "the gate at 90, 95 and 98 % of left-out damage, now that it also asks for the rig's "
        "geometry: 14 mil 91, 97, 99 %; of machines with a 6205 4.7, 7.3, 9.1 % are taken for the "
        "rig; 97 % is used"
    ),
)
# Mean and range of seeds 1 to 3, by `scripts/benchmark-models --only bearing`.
FIGURES: Final = {
    "accuracy_7_mil_left_out": "0.956 (seed 1)",
    "accuracy_14_mil_left_out": "0.964 (seed 1)",
    "accuracy_21_mil_left_out": "0.967 (seed 1)",
    "accuracy_28_mil_left_out": "0.548 (seed 1)",
    "accuracy_one_load_left_out": "0.995 (seed 1)",
    "accuracy_random_windows": "1.000, leaky",
    "calibration_error_sizes_left_out": "0.138, too modest",
    "foreign_right_part": "0.737 at -15 dB, 0.840 at -10 dB, 0.957 at -5 dB, 0.967 at 0 dB",
    "foreign_wrong_part": "0.020, 0.018, 0.028, 0.028",
    "foreign_wrong_part_with_0.9": "0.000, 0.000, 0.000, 0.000",
}
_ABOUT: Final = """\
Which part of a rolling bearing is damaged: ball, inner race, outer race, or none; or that there is
damage of an unknown part. From 1.37 s of acceleration at 12 kHz (a faster sensor is resampled), the
shaft's speed and the bearing's geometry; the features are inside the graph.

Two small experts and a gate between them. One reads the defect lines of the squared envelope in
seven bands, at the orders of the bearing that the config names, and what speaks against them: lines
of the shaft, of the mains, and the strongest ones that no defect explains. It was taught by
simulated machines with all kinds of bearings and is meant for machines that nobody has seen. The
other also knows how the one real test rig (a 6205) rings above 2 kHz, whatever the level. The gate
lets it speak where a machine has that bearing and rings as that rig does."""
_USE: Final = """\
- A bearing at a steady 600 to 3600 1/min (nominal speed will do if it is within 1 %), an
  accelerometer on its housing, blocks of any length at 12 kHz or more.
- Its geometry is in the config (`bearing:`, docs/diagnostics.md). Without it no part is ever named,
  and only strong damage is found.
- **No part is told with a probability of 0.9 or more**: one rig has been heard. `bearing_damage` is
  damage whose part is unknown: no geometry, a wrong one, or no lines where it would have them.
- Run it as a shadow first, and let its alarm wait (`on_delay: 10s`) for some windows that agree."""
_LIMITS: Final = """\
- **One test rig, at most sixteen bearings, damage made by spark erosion.** What it says of real
  wear is not known.
- **The healthy state was recorded once**, at one load and speed, with the bearing mounted anew for
  every fault. That no healthy window is mistaken on that rig says little: any cue of that recording
  would do. The graph does not use the level.
- Damage without defect lines (all balls below 28 mil and the 14 mil outer race of the recordings,
  as Smith and Randall found in 2015) is told by how the rig rings. **On any other machine such
  damage is not found.**
- 28 mil inner races, a bearing of another make, are not recognised when that size is left out.
- The 2 kHz limit was set with knowledge of the trade, and inner folds alone would have set another:
  then 14 mil falls to 47 to 66 %.
- The threshold rests on minutes of healthy data, most of it simulated: the table above says how
  many alarms a day that still allows. Probabilities are rather too modest than too sure."""
_LEFT_OUT: Final = """\
Seed 1, by `scripts/benchmark-models --only bearing`; the goal was 90 for each of the first three.
The bundle before this one, which named a part on any machine with up to 0.98 (three seeds): 95.8,
98.0, 96.9, 57.4, 99.7, 100.

| | 7 mil | 14 mil | 21 mil | 28 mil | one load | random windows (leaky) |
| --- | --- | --- | --- | --- | --- | --- |
| this model % | 95.6 | 96.4 | 96.7 | 54.8 | 99.5 | 100.0 |
| its teacher % | 96.0 | 97.6 | 99.6 | 60.0 | 99.4 | 100.0 |
| linear, spectrum above 2 kHz alone % | 61.8 | 74.9 | 43.2 | 87.0 | 97.7 | 100.0 |
| expert for other machines alone; unknown is wrong % | 57.0 | 7.8 | 68.6 | 53.0 | 50.3 | 46.4 |

Least recalls of a class:
inner race 83 % at 21 mil;
outer race 92 % at 7 mil;
inner race 92 % at 14 mil;
outer race 96 % at 14 mil.
Faults told from health: 100 %; healthy windows called a fault:
0 % (see the limits for what that is worth). Calibration error of the three sizes
together: 0.14, since no part is told with 0.9 or more.

Machines of a second simulator, which teaches nobody (12 to 55 Hz, each with modes, noise and a gear
of its own, half of them with another fault such as a rub; the defect's power against all else).
With a 6205's geometry:

| | -15 dB | -10 dB | -5 dB | 0 dB |
| --- | --- | --- | --- | --- |
| right part % | 76.7 | 87.3 | 94.0 | 96.3 |
| told from health % | 84.7 | 93.3 | 97.7 | 98.3 |
| healthy windows called a fault %, before threshold and delay | 44.0 | 44.0 | 53.0 | 36.0 |
| wrong part % | 1.7 | 1.3 | 1.3 | 0.7 |
| wrong part with 0.9 or more % | 0.0 | 0.0 | 0.0 | 0.0 |

With any bearing; of a quarter of the damaged ones the geometry is not configured, or is another's:

| | -15 dB | -10 dB | -5 dB | 0 dB |
| --- | --- | --- | --- | --- |
| right part % | 73.7 | 84.0 | 95.7 | 96.7 |
| told from health % | 85.0 | 93.2 | 96.5 | 99.8 |
| healthy windows called a fault %, before threshold and delay | 26.0 | 36.0 | 35.0 | 39.0 |
| wrong part % | 2.0 | 1.8 | 2.8 | 2.8 |
| wrong part with 0.9 or more % | 0.0 | 0.0 | 0.0 | 0.0 |"""
_LICENCE: Final = """\
The weights are trained on the bearing recordings of Case Western Reserve University
(<https://engineering.case.edu/bearingdatacenter>), **which state no licence**, and on simulated
machines. No recording is in this folder: the golden vectors are simulated. Whoever needs a model
free of that question trains on his own recordings (docs/factory.md)."""
CARD: Final = {
    "About": _ABOUT,
    "With one size of damage left out": _LEFT_OUT,
    "Intended use": _USE,
    "Limits": _LIMITS,
    "Data and licence": _LICENCE,
    "Tried": "\n".join(f"- {each}." for each in TRIED),
    "Figures on held-out units above": (
        "They are of machines of the second simulator, mixed loudness; none of the recordings is "
        "in them, since the shipped weights have heard all of those."
    ),
}
