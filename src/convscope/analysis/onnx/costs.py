"""Products of a node, and whether they are known at all.

``products(...)``  a `Cost`; of an operator that nobody has told us, an unknown one
"""

from dataclasses import dataclass

from convscope.analysis.inputs import Shape
from convscope.analysis.operations.operation import Arguments
from convscope.analysis.operations.registry import by_onnx

# Operators of ONNX without products of weights, of which not even known is what their
# outputs see. Whatever is neither here nor in the registry is unknown.
WITHOUT = {
    "AffineGrid", "Bernoulli", "BitCast", "BlackmanWindow", "CenterCropPad", "Col2Im",
    "Compress", "ConcatFromSequence", "ConstantOfShape", "CumProd", "DFT", "Det",
    "EyeLike", "GatherElements", "GatherND", "GridSample", "HammingWindow",
    "HannWindow", "ImageDecoder", "LpNormalization", "MaxRoiPool", "MaxUnpool",
    "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss", "NonMaxSuppression",
    "NonZero", "OneHot", "Optional", "OptionalGetElement", "OptionalHasElement",
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range",
    "ReverseSequence", "RoiAlign", "RotaryEmbedding", "STFT", "Scatter",
    "ScatterElements", "ScatterND", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "Shape", "Size",
    "SoftmaxCrossEntropyLoss", "SplitToSequence", "TensorScatter", "Tile", "TopK",
    "Trilu", "Unique", "com.microsoft.RotaryEmbedding",
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Multiplications of one node.

    Attributes:
        count: How many.
        two: Whether both factors depend on the input.
        known: Whether ``count`` is all of them.
    """

    count: int = 0
    two: bool = False
    known: bool = True


def is_known(kind: str) -> bool:
    """Whether an operator is one that we know.

    >>> is_known("Conv"), is_known("com.acme.Attend")
    (True, False)
    """
    return by_onnx(kind) is not None or kind in WITHOUT


def products(kind: str, read: Arguments | None, shape: Shape | None) -> Cost:
    """Products of one node.

    Args:
        kind: Its plain operator.
        read: Its arguments; None where a shape or the node is not understood.
        shape: Of its output; None where it is not known.
    """
    found = by_onnx(kind)
    if found is None:
        return Cost(known=kind in WITHOUT)
    if found.costs is None:
        return Cost()
    made = None if read is None or shape is None else found.costs(read, shape)
    if made is None or read is None:
        return Cost(known=False)
    return Cost(made.count, all(read[name].from_input for name in made.operands))
