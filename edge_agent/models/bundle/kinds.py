"""The kinds of bundles, one row each: files, allowed operators, limits of resources."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.models.bundle.tasks import TASKS, Task, TaskRow
from edge_agent.signals import INPUT_KINDS, PICTURE_KINDS, InputKind

if TYPE_CHECKING:
    from collections.abc import Mapping

MANIFEST: Final = "model.yaml"
MODEL: Final = "model.onnx"
GOLDEN: Final = "golden.npz"
SIGNATURE: Final = "model.sig"
CARD: Final = "card.md"
THRESHOLD: Final = "threshold"  # a graph's output, float32 []
FP32: Final = "fp32"  # the variant in MODEL

VARIANT: Final = re.compile(r"[a-z0-9-]{1,32}")
_PICTURE: Final = re.compile(r"[a-z0-9-]{1,64}\.png")
_MIB: Final = 1 << 20
_PICTURE_BYTES: Final = 2 * _MIB
_MANIFEST_BYTES: Final = 4 * _MIB
_SIGNATURE_BYTES: Final = 4096
# Files of bundles of any kind.
OWN_FILES: Final = {MANIFEST: _MANIFEST_BYTES, SIGNATURE: _SIGNATURE_BYTES, CARD: _MIB}

# ONNX's own operators except those that loop (Loop, Scan: no bound on time), contain code or state
# (none today), read sequences, maps, strings or images, or draw random numbers.
_STANDARD: Final = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
    BatchNormalization BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast
    CastLike Ceil Celu CenterCropPad Clip Compress Concat Constant ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumSum DFT DepthToSpace DequantizeLinear Det Div Dropout
    DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater
    GreaterOrEqual GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax
    Identity If InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less
    LessOrEqual Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean
    MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Neg NonZero Not OneHot Or PRelu Pad
    Pow QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence Round STFT ScatterElements ScatterND Selu
    Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()  # noqa: SIM905 (a hundred quotes would hide the names)
)
# Forests and scalers, as scikit-learn's exporter writes them.
_CLASSIC: Final = frozenset(
    """
    ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LabelEncoder LinearClassifier
    LinearRegressor Normalizer SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier
    TreeEnsembleRegressor
    """.split()  # noqa: SIM905
)
# The operators of the runtime's own quantizer.
_QUANTIZED: Final = frozenset(
    """
    DequantizeLinear DynamicQuantizeMatMul Gelu MatMulIntegerToFloat QGemm QLinearAdd
    QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul
    QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear
    """.split()  # noqa: SIM905
)
OPERATORS: Final = {
    "": _STANDARD,
    "ai.onnx": _STANDARD,
    "ai.onnx.ml": _CLASSIC,
    "com.microsoft": _QUANTIZED,
}


@dataclass(frozen=True, slots=True)
class BundleKind:
    """One kind of bundle.

    files: the required files except the manifest, with the maximum bytes of each; optional: the
    optional ones. operators: allowed in its graph, by domain; max_nodes: the maximum number of
    nodes. max_variants, max_pictures: 0 for none. batches: rows of a run, when variants are timed.
    tasks: the allowed tasks of its models; inputs:
    the allowed kinds of their inputs.

    Its trial runs in a child process, by `main` of the module in `sandbox`: memory_bytes and
    model_copies (times the size of the graph) limit memory, cpu_s computing, wall_s the total time.
    """

    name: str
    files: Mapping[str, int]
    optional: Mapping[str, int] = field(default_factory=dict)
    operators: Mapping[str, frozenset[str]] = field(default_factory=lambda: OPERATORS)
    max_nodes: int = 50_000
    max_variants: int = 8
    max_pictures: int = 16
    batches: tuple[int, ...] = (1, 64)
    tasks: Mapping[str, TaskRow] = field(default_factory=lambda: TASKS)
    inputs: Mapping[str, InputKind] = field(default_factory=lambda: INPUT_KINDS)
    sandbox: str = "edge_agent.models.bundle.sandbox_child"
    memory_bytes: int = 1 << 30
    model_copies: int = 8
    cpu_s: int = 60
    wall_s: float = 120.0

    def max_bytes(self, name: str) -> int | None:
        """The maximum bytes of a file; None if no bundle of this kind has a file of that name."""
        for known in (OWN_FILES, self.files, self.optional):
            if name in known:
                return known[name]
        if is_picture(name):
            return _PICTURE_BYTES if self.max_pictures else None
        is_variant = self.max_variants and variant_of(name) is not None
        return self.files.get(MODEL) if is_variant else None

    def is_listed(self, name: str) -> bool:
        """True if `sha256` lists the file: all but the manifest itself and its signature."""
        return name not in {MANIFEST, SIGNATURE} and self.max_bytes(name) is not None


WINDOW: Final = BundleKind("window", {MODEL: 512 * _MIB, GOLDEN: 64 * _MIB})
# A camera's pictures come one by one, and a batch of them takes much memory.
PICTURE: Final = BundleKind(
    "picture",
    {MODEL: 128 * _MIB, GOLDEN: 64 * _MIB},
    batches=(1,),
    tasks={task: TASKS[task] for task in (Task.ANOMALY, Task.CLASSIFICATION)},
    inputs=PICTURE_KINDS,
)


def variant_file(variant: str) -> str:
    """The file of a variant: fp32 is `model.onnx`, int8 is `model.int8.onnx`."""
    return MODEL if variant == FP32 else f"model.{variant}.onnx"


def variant_of(name: str) -> str | None:
    """The variant in a file; None for all other files."""
    variant = name.removeprefix("model.").removesuffix(".onnx")
    return variant if VARIANT.fullmatch(variant) and name == variant_file(variant) else None


def is_picture(name: str) -> bool:
    """True if the file is a picture by its name."""
    return _PICTURE.fullmatch(name) is not None
