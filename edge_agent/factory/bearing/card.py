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
        "the gate at 80, 90, 95 and 99 % of left-out damage: all three stay above 90, but from "
        "95 % on more simulated machines are taken for the rig; 90 % is used"
    ),
)
# Mean and range of seeds 1 to 3, by `scripts/benchmark-models --only bearing`.
FIGURES: Final = {
    "accuracy_7_mil_left_out": "0.958 (0.956 to 0.960)",
    "accuracy_14_mil_left_out": "0.980 (0.976 to 0.988)",
    "accuracy_21_mil_left_out": "0.969 (0.956 to 0.982)",
    "accuracy_28_mil_left_out": "0.574 (0.557 to 0.591), bearings of another make",
    "accuracy_one_load_left_out": "0.997 (0.995 to 1.000)",
    "accuracy_random_windows": "1.000, leaky",
    "calibration_error_sizes_left_out": "0.102 (0.099 to 0.104), too modest",
    "other_machines_right_part": "0.837 at -15 dB, 0.938 at -10, 0.979 at -5, 0.992 at 0",
    "other_machines_false_alarm_share": "0.067 of windows, before threshold and delay",
}
_ABOUT: Final = """\
Which part of a rolling bearing is damaged: ball, inner race, outer race, or none. From 1.37 s of
acceleration at 12 kHz and the shaft's speed; the features are inside the graph.

Two small experts and a gate between them. One reads the defect lines of the squared envelope in
seven bands, at the orders of a 6205 (nine balls of 7.94 mm on 39.04 mm): it was taught by simulated
machines of all kinds and is meant for machines that nobody has seen. The other also knows how the
one real test rig rings above 2 kHz, whatever the level. The gate lets it speak where a machine
rings as that rig does."""
_USE: Final = """\
- A bearing with the orders of a 6205 at a steady 600 to 3600 1/min (nominal speed will do if it
  is within 1 %), an accelerometer on the bearing's housing, blocks of any length at 12 kHz.
- For another bearing, put its geometry into `ORDERS` of `edge_agent/factory/bearing/recipe.py` and
  build again.
- Run it as a shadow first, and let its alarm wait (`on_delay: 10s`) for some windows that agree."""
_LIMITS: Final = """\
- **One test rig, at most sixteen bearings, damage made by spark erosion.** What it says of real
  wear is not known.
- **The healthy state was recorded once**, at one load and speed, with the bearing mounted anew for
  every fault. That no healthy window is mistaken on that rig says little: any cue of that recording
  would do. The graph does not use the level.
- Damage without defect lines (all balls below 28 mil and the 14 mil outer race of the recordings,
  as Smith and Randall found in 2015) is told by how the rig rings. **On any other machine such
  damage is not found.** The expert for other machines tells the rig's inner races with 100 %
  and its outer races of 7 and 21 mil with 92 and 100 %, without having heard one of them, but next
  to none of its balls of 7 to 21 mil.
- 28 mil inner races, a bearing of another make, are not recognised when that size is left out.
- The 2 kHz limit was set with knowledge of the trade, and inner folds alone would have set another:
  then 14 mil falls to 47 to 66 %.
- The threshold rests on minutes of healthy data, most of it simulated: the table above says how
  many alarms a day that still allows. Probabilities are rather too modest than too sure."""
_LEFT_OUT: Final = """\
Three seeds, mean (least to most), by `scripts/benchmark-models --only bearing`; the goal was 90 for
each of the first three.

| | 7 mil | 14 mil | 21 mil | 28 mil | one load | random windows (leaky) |
| --- | --- | --- | --- | --- | --- | --- |
| this model % | 95.8 (95.6-96.0) | 98.0 (97.6-98.8) | 96.9 (95.6-98.2) | 57.4 | 99.7 | 100 |
| its teacher % | 96.0 | 98.2 (97.6-98.8) | 99.6 | 64.4 | 99.4 | 100 |
| linear, spectrum above 2 kHz alone % | 61.8 | 74.9 | 43.2 | 87.0 | 97.7 | 99.8 |
| expert for other machines alone % | 76.3 | 51.5 | 80.8 | 63.5 | 71.0 | 69.8 |

Least recalls of a class in any seed: outer race 92 % at 7 mil, 94 % at 14; inner race 96 % at 14,
77 % at 21; all others 100 %. Every fault was told from health, and no healthy window was called a
fault (see the limits for what that is worth). Calibration error of the three sizes together: 0.10.

Machines of a second simulator, which teaches nobody (1,600 a seed, with a 6205's orders, at 12 to
55 Hz, each with modes, noise and a gear of its own; the defect's power against all else):

| | -15 dB | -10 dB | -5 dB | 0 dB |
| --- | --- | --- | --- | --- |
| right part % | 83.7 | 93.8 | 97.9 | 99.2 |
| told from health % | 85.1 | 94.8 | 98.8 | 99.6 |
| healthy windows called a fault %, before threshold and delay | 5.7 | 6.3 | 8.0 | 6.7 |"""
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
