"""What is known of one value of a graph while its nodes are followed."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from convscope.analysis.inputs import Shape
from convscope.analysis.operations.provenance import Provenance

# How a stored tensor has come into a constant: as it is, as the codes of quantized
# numbers, or as what is needed to read such codes.
Form: TypeAlias = Literal["plain", "codes", "scale"]

LARGEST_LENGTH = 2**24  # elements along one axis of an activation
MOST_AXES = 8


@dataclass
class GraphTensor:
    """One value of the graph.

    Attributes:
        type: As onnx infers it; None where nothing is known.
        sees: What it sees; of no use where the shape is not known.
        value: Its numbers, where they are few and do not depend on an input.
        origins: Stored tensors that it is made from, if it is a constant.
        made_by: Its place among the activations; None for a constant.
        kind: The operator that made it; empty for an input and for what is stored.
        is_scale: Whether it is the scale of a tensor that is quantized on the way.
    """

    type: Any
    sees: Provenance
    value: Any = None
    origins: dict[str, Form] = field(default_factory=dict)
    made_by: int | None = None
    kind: str = ""
    is_scale: bool = False

    @property
    def shape(self) -> Shape | None:
        """Its shape, where every length is known and none is absurd."""
        return shape_of(self.type)

    @property
    def live(self) -> bool:
        """Whether it depends on an input of the network."""
        return self.sees.from_input


def shape_of(type_: Any) -> Shape | None:
    """A shape of which every length is known, and none is absurd."""
    if type_ is None or not type_.HasField("tensor_type"):
        return None
    tensor = type_.tensor_type
    if not tensor.HasField("shape") or len(tensor.shape.dim) > MOST_AXES:
        return None
    sizes = tensor.shape.dim
    if any(
        not d.HasField("dim_value") or not 0 <= d.dim_value <= LARGEST_LENGTH
        for d in sizes
    ):
        return None
    return tuple(d.dim_value for d in sizes)
