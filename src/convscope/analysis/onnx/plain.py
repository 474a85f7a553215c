"""A node as the operator that it is underneath: quantized and fused ones, too.

``plain(step)``   the operator, and which of its inputs go where

A ``QLinearConv`` is a convolution with five more inputs for scales and zero points, a
``FusedConv`` one with an activation behind. What an operation sees and costs is
written once, for the plain operator.
"""

from dataclasses import dataclass
from typing import Any

from convscope.analysis.onnx.reading import Step

Places = tuple[int, ...]


@dataclass(frozen=True)
class Plain:
    """An operator of ONNX.

    Attributes:
        kind: Its name.
        places: Which inputs of the node are its inputs, in order.
        attributes: Those of the node.
    """

    kind: str
    places: Places
    attributes: dict[str, Any]


# By kind: the plain operator, and the places of its inputs.
UNDERNEATH: dict[str, tuple[str, Places]] = {
    "BiasGelu": ("Add", (0, 1)),
    "ConvInteger": ("Conv", (0, 1)),
    "DynamicQuantizeLSTM": ("LSTM", tuple(range(8))),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "FastGelu": ("Add", (0, 1)),
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "MatMulInteger": ("MatMul", (0, 1)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "QGemm": ("Gemm", (0, 3, 6)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearConv": ("Conv", (0, 3, 8)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearMatMul": ("MatMul", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearSoftmax": ("Softmax", (0,)),
    "QuickGelu": ("Gelu", (0,)),
    "SimplifiedLayerNormalization": ("RMSNormalization", (0, 1)),
    "SkipLayerNormalization": ("LayerNormalization", (0, 2, 3)),
    "SkipSimplifiedLayerNormalization": ("RMSNormalization", (0, 2)),
    "TransposeMatMul": ("FusedMatMul", (0, 1)),
}
# Attributes that the plain operator of the name has; others are of the fusion.
OF_FUSIONS = ("activation", "activation_params", "activation_alpha", "channels_last")


def plain(step: Step) -> Plain:
    """The operator underneath; the node's own where it is plain already."""
    kind, places = UNDERNEATH.get(step.kind, (step.kind, ()))
    attributes = dict(step.attributes)
    if step.kind in UNDERNEATH:
        attributes = {n: v for n, v in attributes.items() if n not in OF_FUSIONS}
        there = tuple(p for p in places if p < len(step.inputs))
        return Plain(kind, there, attributes)
    return Plain(kind, tuple(range(len(step.inputs))), attributes)
