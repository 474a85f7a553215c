"""A tensor that an ONNX file stores, compared with the bytes that are there.

``stored(onnx, tensor)``, ``stored_sparse(onnx, tensor)``   a `Stored`, or a ValueError
"""

from dataclasses import dataclass
from math import prod
from typing import Any

from convscope.analysis.inputs import Shape

MOST_AXES = 8
FOUR_BITS = ("UINT4", "INT4", "FLOAT4E2M1")
TWO_BITS = ("UINT2", "INT2")


@dataclass(frozen=True)
class Stored:
    """A weight or a constant.

    Attributes:
        shape: Of the tensor that it stands for.
        numbers: How many it holds; fewer than the shape has where zeros are left out.
        element: Name of the type of its elements: ``"FLOAT"``, ``"INT8"``.
        bits: Of one element.
        tensor: What onnx read; None where the values are not in the file, or are not
            all written down.
        code: onnx's number for the type of its elements.
        file: The other file that holds its values; empty if they are in this one.
        ends_at: The byte of that file at which it ends, where the file says so.
        in_node: Whether a ``Constant`` node holds it.
    """

    shape: Shape
    numbers: int
    element: str
    bits: int
    tensor: Any
    code: int
    file: str = ""
    ends_at: int = 0
    in_node: bool = False

    @property
    def bytes(self) -> int:
        """As it lies in the file."""
        return -(-self.numbers * self.bits // 8)

    @property
    def is_float(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return "FLOAT" in self.element or self.element in ("DOUBLE", "COMPLEX64")


def stored(onnx: Any, tensor: Any) -> Stored:
    """What the file says of a tensor, if its bytes bear it out.

    Raises:
        ValueError: They do not; says how.
    """
    shape, element, bits = _kind(onnx, tensor, tuple(tensor.dims))
    numbers = prod(shape)
    name = f"weight {tensor.name!r}" if tensor.name else "a constant"
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        where = {entry.key: entry.value for entry in tensor.external_data}
        try:
            begin, length = int(where.get("offset", 0)), int(where.get("length", 0))
        except ValueError as error:
            raise ValueError(f"{name} does not say where it lies") from error
        needed = -(-numbers * bits // 8)
        if "location" not in where or begin < 0 or (length and length != needed):
            raise ValueError(
                f"{name} is {shape}, {needed:,} bytes, and lies in {length:,} bytes of "
                f"another file"
            )
        return Stored(
            shape, numbers, element, bits, None, tensor.data_type,
            where["location"], begin + needed,
        )  # fmt: skip
    there = _numbers_there(onnx, tensor, bits)
    if there != (-(-numbers * bits // 8) if tensor.HasField("raw_data") else numbers):
        unit = "bytes" if tensor.HasField("raw_data") else "numbers"
        wanted = -(-numbers * bits // 8) if unit == "bytes" else numbers
        raise ValueError(
            f"{name} is {shape} of {element}, {wanted:,} {unit}, and {there:,} are "
            "there"
        )
    return Stored(shape, numbers, element, bits, tensor, tensor.data_type)


def stored_sparse(onnx: Any, sparse: Any) -> Stored:
    """A tensor of which only the numbers that are not zero are stored.

    Raises:
        ValueError: It stores other numbers than it says.
    """
    values = stored(onnx, sparse.values)
    shape, element, bits = _kind(onnx, sparse.values, tuple(sparse.dims))
    if values.numbers > prod(shape):
        raise ValueError(
            f"weight {sparse.values.name!r} is {shape}, and stores {values.numbers:,} "
            "numbers"
        )
    return Stored(shape, values.numbers, element, bits, None, values.code)


def _kind(onnx: Any, tensor: Any, shape: Shape) -> tuple[Shape, str, int]:
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    element = names.get(tensor.data_type, "UNDEFINED")
    if element == "UNDEFINED":
        raise ValueError(
            f"weight {tensor.name!r} has elements of type {tensor.data_type}, which "
            "ONNX does not have"
        )
    if any(size < 0 for size in shape) or len(shape) > MOST_AXES:
        raise ValueError(f"weight {tensor.name!r} has an impossible shape {shape}")
    return shape, element, bits_of(onnx, tensor.data_type)


def bits_of(onnx: Any, code: int) -> int:
    """Bits of one element; 0 for text and for what is not known."""
    names = {number: name for name, number in onnx.TensorProto.DataType.items()}
    element = names.get(code, "UNDEFINED")
    if element in ("STRING", "UNDEFINED"):
        return 0
    if element.startswith("FLOAT6"):
        return 6
    if element in FOUR_BITS or element in TWO_BITS:
        return 4 if element in FOUR_BITS else 2
    try:
        return 8 * int(onnx.helper.tensor_dtype_to_np_dtype(code).itemsize)
    except KeyError:  # a type that is younger than the library
        return 8


def _numbers_there(onnx: Any, tensor: Any, bits: int) -> int:
    """Bytes of raw data, or numbers in the field that is for the type."""
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
    there = len(getattr(tensor, field))
    if bits in (2, 4) and there:  # several in one
        whole = prod(tensor.dims)
        return whole if there == -(-whole * bits // 8) else there
    return there // 2 if tensor.data_type in (14, 15) else there
