"""Which operators each runtime takes: of those that convolutional networks are made of, from public documentation.

What is not named here may still run; nobody has looked. Sources, as of November 2026:
- ONNX Runtime: docs/OperatorKernels.md of microsoft/onnxruntime, kernels of CPUExecutionProvider; a test asks the
  installed one.
- OpenVINO, reading ONNX: src/frontends/onnx/docs/supported_ops.md of openvinotoolkit/openvino.
- OpenVINO, its own IR: docs.openvino.ai, OpenVINO IR format, operation sets, opset1 to opset15.
- TensorRT: docs/operators.md of onnx/onnx-tensorrt, 8.5 for operators and 10.0 for opsets (11 takes up to 25).
"""

from collections.abc import Mapping
from dataclasses import dataclass

RANDOM = frozenset(
    {
        *("Dropout", "Bernoulli", "Multinomial"),
        *("RandomUniform", "RandomUniformLike", "RandomNormal", "RandomNormalLike"),
    }
)

_EVERYWHERE = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Einsum Elu Equal Erf
    Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalMaxPool Greater
    GreaterOrEqual HardSigmoid HardSwish Identity If InstanceNormalization LRN LeakyRelu Less LessOrEqual Log LogSoftmax
    Loop LpNormalization MatMul Max MaxPool Mean MeanVarianceNormalization Min Mod Mul Neg NonZero Not OneHot Or PRelu Pad Pow
    QuantizeLinear Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements ScatterND Selu Shape Shrink Sigmoid
    Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Where Xor
    """.split()
)
_NOT_TENSORRT = frozenset(
    "BitShift BitwiseAnd BitwiseOr BitwiseXor DynamicQuantizeLinear GroupNormalization LayerNormalization "
    "QLinearConv QLinearMatMul".split()
)

IR = frozenset(
    """
    Abs Acos Acosh AdaptiveAvgPool AdaptiveMaxPool Add Asin Asinh Atan Atanh AvgPool BatchNormInference Broadcast Ceiling
    Clamp Concat Const Convert ConvertLike Convolution ConvolutionBackpropData Cos Cosh CumSum DepthToSpace Divide Einsum
    Elu Equal Erf Exp Eye FakeQuantize Floor FloorMod Gather GatherElements GatherND Gelu Greater GreaterEqual
    GroupConvolution GroupConvolutionBackpropData GroupNormalization HSigmoid HSwish HardSigmoid If Interpolate LRN Less
    LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr LogicalXor Loop MVN MatMul MaxPool Maximum Minimum Mish Mod
    Multiply Negative NonZero NormalizeL2 NotEqual OneHot PReLU Pad Parameter Power Range ReLU ReduceL1 ReduceL2
    ReduceLogicalAnd ReduceLogicalOr ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Result Round
    ScatterElementsUpdate ScatterNDUpdate ScatterUpdate Select Selu ShapeOf Sigmoid Sign Sin Sinh Slice SoftMax SoftPlus
    SoftSign SpaceToDepth Split Sqrt SquaredDifference Squeeze StridedSlice Subtract Swish Tan Tanh TensorIterator Tile
    TopK Transpose Unsqueeze VariadicSplit
    """.split()
)
"""Operations of OpenVINO's IR, opset1 to opset15, that neither draw nor keep state."""


@dataclass(frozen=True)
class Takes:
    """What a runtime takes as ONNX.

    Attributes:
        opsets: Of the default domain, lowest and highest.
        operators: Of the default domain; no other is taken.
        zero_points: Whether quantised values may have another zero point than 0.
    """

    opsets: tuple[int, int]
    operators: frozenset[str]
    zero_points: bool = True


TAKES: Mapping[str, Takes] = {
    "onnxruntime": Takes((7, 22), _EVERYWHERE | _NOT_TENSORRT),
    "openvino": Takes((7, 22), _EVERYWHERE | _NOT_TENSORRT),
    "tensorrt": Takes((9, 20), _EVERYWHERE, zero_points=False),
    "tensorrt-rtx": Takes((9, 20), _EVERYWHERE, zero_points=False),
}
