"""The nodes of a graph of waveforms: (operator, inputs, output, attributes).

A name with a dot is of one input, and @ is the number of a stretch.
"""

from __future__ import annotations

from typing import Any, Final

Nodes = tuple[tuple[str, str, str, dict[str, Any]], ...]

# From one waveform `wave` to its features; names with a dot are of this input.
FEATURES: Final[Nodes] = (
    ("Clip", "wave quietest loudest", ".clipped", {}),
    ("ReduceMean", ".clipped", ".mean", {"axes": [1]}),
    ("Sub", ".clipped .mean", ".centered", {}),
    ("Abs", ".centered", ".sizes", {}),
    ("ReduceMax", ".sizes", ".largest", {"axes": [1]}),
    ("Add", ".largest silence", ".peak", {}),
    ("Log", ".peak", ".loud", {}),
    ("Div", ".centered .peak", ".x", {}),
    ("Mul", ".x .x", ".square", {}),
    ("ReduceMean", ".square", ".second", {"axes": [1]}),
    ("Add", ".second tiny", ".power", {}),
    ("Mul", ".square .square", ".fourth_each", {}),
    ("ReduceMean", ".fourth_each", ".fourth", {"axes": [1]}),
    ("Mul", ".power .power", ".power_squared", {}),
    ("Div", ".fourth .power_squared", ".ratio", {}),
    ("Add", ".ratio tiny", ".ratio_up", {}),
    ("Log", ".ratio_up", ".kurtosis", {}),
    ("Log", ".power", ".log_power", {}),
    ("Mul", ".log_power half", ".level", {}),
    ("Add", ".level .loud", ".loudness", {}),
    ("Neg", ".level", ".crest", {}),
    ("Unsqueeze", ".x one_axis", ".row", {}),
    # The spectrum: [N, 2 bins, parts].
    ("Conv", ".row .spectrum", ".spectra", {"strides": "segment_hop"}),
    ("Mul", ".spectra .spectra", ".spectra_squared", {}),
    ("ReduceMean", ".spectra_squared", ".bins", {"axes": [2], "keepdims": 0}),
    ("MatMul", ".bins .bands", ".band_powers", {}),
    ("Add", ".band_powers tiny", ".band_powers_up", {}),
    ("Log", ".band_powers_up", ".band_logs", {}),
    ("Mul", ".band_logs half", ".band_levels", {}),
    ("Add", ".band_levels .loud", ".band_loudness", {}),
    # The envelopes of the pools: [N, pools, frames].
    ("Conv", ".row .frames", ".framed", {"strides": "frame_hop"}),
    ("Mul", ".framed .framed", ".framed_squared", {}),
    ("MatMul", ".pools .framed_squared", ".envelopes", {}),
    ("ReduceMean", ".envelopes", ".envelope_mean", {"axes": [2]}),
    ("Add", ".envelope_mean tiny", ".envelope_level", {}),
    ("Div", ".envelopes .envelope_level", ".relative", {}),
    ("Sub", ".relative one", ".swing", {}),
)
STRETCH: Final[Nodes] = (
    ("Slice", ".swing .from@ .to@ two_axis", ".stretch@", {}),
    ("MatMul", ".stretch@ .turns", ".turned@", {}),
    ("Mul", ".turned@ .turned@", ".turned_squared@", {}),
)
LARGEST: Final[Nodes] = (("ReduceMax", ".both", ".line_powers", {"axes": [1], "keepdims": 0}),)
# The largest line of each range: of frequencies, ...
RANGES: Final[Nodes] = (
    ("Gather", ".line_powers .ranges", ".in_ranges", {"axis": 1}),
    ("ReduceMax", ".in_ranges", ".range_powers", {"axes": [2], "keepdims": 0}),
)
# ... or of orders, whose lines depend on the speed of the window.
ORDERS: Final[Nodes] = (
    ("Mul", "speed_hz .order_first", ".first_exact", {}),
    ("Sub", ".first_exact reach", ".first_early", {}),
    ("Min", ".first_early .last_bin", ".first", {}),
    ("Mul", "speed_hz .order_last", ".last_exact", {}),
    ("Add", ".last_exact reach", ".last_late", {}),
    ("Max", ".last_late .first_bin", ".last", {}),
    ("Unsqueeze", ".first last_axis", ".first_column", {}),
    ("Unsqueeze", ".last last_axis", ".last_column", {}),
    ("GreaterOrEqual", ".bin_numbers .first_column", ".is_after", {}),
    ("LessOrEqual", ".bin_numbers .last_column", ".is_before", {}),
    ("And", ".is_after .is_before", ".is_inside", {}),
    ("Unsqueeze", ".line_powers one_axis", ".line_row", {}),
    ("Where", ".is_inside .line_row zero", ".inside", {}),
    ("ReduceMax", ".inside", ".range_powers", {"axes": [2], "keepdims": 0}),
)
LINES: Final[Nodes] = (
    ("Add", ".range_powers tiny", ".range_powers_up", {}),
    ("Log", ".range_powers_up", ".range_logs", {}),
    ("Mul", ".range_logs half", ".line_levels", {}),
    ("Concat", ".loudness .kurtosis .crest .band_loudness .line_levels", ".f", {"axis": 1}),
)
SPEED: Final[Nodes] = (
    ("Gather", "conditions first", "speed", {"axis": 1}),
    ("Mul", "speed speed_scale", "speed_hz", {}),
)
# The features less what the conditions explain of them.
GIVEN: Final[Nodes] = (
    ("Gather", "condition_low unit", "condition_low_n", {"axis": 0}),
    ("Gather", "condition_scale unit", "condition_scale_n", {"axis": 0}),
    ("Gather", "bends unit", "bends_n", {"axis": 0}),
    ("Gather", "weights unit", "weights_n", {"axis": 0}),
    ("Sub", "conditions condition_low_n", "above", {}),
    ("Mul", "above condition_scale_n", "above_scaled", {}),
    ("Clip", "above_scaled zero one", "within", {}),
    ("Unsqueeze", "within last_axis", "within_column", {}),
    ("Sub", "within_column bends_n", "beyond", {}),
    ("Relu", "beyond", "broken", {}),
    ("Reshape", "broken basis_shape", "basis", {}),
    ("MatMul", "basis weights_n", "explained_row", {}),
    ("Squeeze", "explained_row one_axis", "explained", {}),
    ("Sub", "measured explained", "f", {}),
)
# From the features f [N, F] to score and contributions.
JUDGEMENT: Final[Nodes] = (
    ("Gather", "center unit", "center_n", {"axis": 0}),
    ("Gather", "scale unit", "scale_n", {"axis": 0}),
    ("Gather", "middle unit", "middle_n", {"axis": 0}),
    ("Gather", "precision unit", "precision_n", {"axis": 0}),
    ("Gather", "single unit", "single_n", {"axis": 0}),
    ("Sub", "f center_n", "off", {}),
    ("Mul", "off scale_n", "scaled", {}),
    ("Clip", "scaled clip_low clip_high", "z", {}),
    ("Sub", "z middle_n", "away", {}),
    ("Unsqueeze", "away one_axis", "deviation", {}),
    # Less what has been followed.
    ("Squeeze", "followed one_axis", "moved", {}),
    ("Sub", "away moved", "e", {}),
    ("Sub", "z moved", "z_left", {}),
    ("Unsqueeze", "e last_axis", "e_column", {}),
    ("MatMul", "precision_n e_column", "pull_column", {}),
    ("Squeeze", "pull_column last_axis", "pull", {}),
    ("Mul", "e pull", "shares", {}),
    ("ReduceSum", "shares last_axis", "together", {"keepdims": 1}),
    ("Mul", "z_left z_left", "alone_each", {}),
    ("Mul", "alone_each single_n", "alone_shares", {}),
    ("ReduceMax", "alone_shares", "alone", {"axes": [1], "keepdims": 1}),
    # The largest one is the score; all have their part of it.
    ("ReduceSum", "alone_shares last_axis", "alone_sum", {"keepdims": 1}),
    ("Div", "alone alone_sum", "alone_part", {}),
    ("Mul", "alone_shares alone_part", "alone_parts", {}),
    ("Greater", "alone together", "is_alone", {}),
    ("Where", "is_alone alone_parts shares", "contributions", {}),
    ("ReduceSum", "contributions last_axis", "score", {"keepdims": 0}),
    ("Add", "score one", "score_plus_one", {}),
    ("Reciprocal", "score_plus_one", "health", {}),
)
