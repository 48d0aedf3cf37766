"""Published figures, for comparison with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from scripts.model_bench.table import Row

# Skoltech Anomaly Benchmark v0.9, the leaderboard of its repository: F1, FAR %, MAR %; change
# points by the NAB standard profile. https://github.com/waico/SKAB
SKAB: Final[tuple[Row, ...]] = (
    {"name": "published: Conv-AE", "f1": 0.78, "far": 13.55, "mar": 28.02, "nab": 23.61},
    {"name": "published: MSET", "f1": 0.78, "far": 39.73, "mar": 14.13},
    {"name": "published: T²+Q", "f1": 0.76, "far": 26.62, "mar": 24.92, "nab": 25.35},
    {"name": "published: LSTM-AE", "f1": 0.74, "far": 29.96, "mar": 25.92},
    {"name": "published: T²", "f1": 0.66, "far": 19.21, "mar": 42.6},
    {"name": "published: isolation forest", "f1": 0.29, "far": 2.56, "mar": 82.89, "nab": 26.16},
    {"name": "published: MSCRED", "nab": 32.42},
)
# C-MAPSS FD001: RMSE in cycles and NASA's score on the 100 test engines, as their papers print
# them; most cap the test's truth at 125 cycles, not all state it. MS-DCNN: Li et al., Applied Soft
# Computing 89, 2020. AGCNN: Liu et al., IEEE Transactions on Industrial Informatics 17, 2021. Deep
# LSTM: Zheng et al., IEEE ICPHM 2017.
TURBOFAN: Final[tuple[Row, ...]] = (
    {"name": "published: MTSTAN", "rmse_capped": 10.97, "score_capped": 175.0},
    {"name": "published: MS-DCNN", "rmse_capped": 11.44, "score_capped": 196.0},
    {"name": "published: FFVE", "rmse_capped": 12.31, "score_capped": 280.0},
    {"name": "published: AGCNN", "rmse_capped": 12.42, "score_capped": 226.0},
    {"name": "published: Deep LSTM", "rmse_capped": 16.14, "score_capped": 338.0},
)
