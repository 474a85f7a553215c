"""The size of each input: what the file says, what the caller gives, what is open.

``input_types(...)``   a type for each input, and the numbers of those without axes
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from convscope.analysis.inputs import Shape
from convscope.analysis.onnx.tensor import LARGEST_LENGTH, MOST_AXES
from convscope.errors import ArgumentError, Remedy, ShapeError, UnknownNameError
from convscope.terminal import printable

# One input's size, or the number that an input without axes has.
Given: TypeAlias = Sequence[int] | int
InputSize: TypeAlias = Sequence[int] | Sequence[Given] | Mapping[str, Given]

BATCH = re.compile(r"n|b|bs|batch.*|.*_batch", re.IGNORECASE)
# Lengths for an example, by the number of axes; any other has 16.
EXAMPLES = {3: 128, 4: 224}


@dataclass
class Sizes:
    """What the inputs of a network are.

    Attributes:
        types: By name, as onnx writes them.
        numbers: Those of inputs without axes that have been given.
        symbols: Lengths by the name that the file has for them.
        as_declared: Whether no length differs from what the file says.
    """

    types: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)
    as_declared: bool = True


def input_types(
    onnx: Any, inputs: Sequence[Any], input_size: InputSize | None, where: str
) -> Sizes:
    """A type for each input of the network.

    The first axis is the batch: where it is open it is 1, as is any that is called
    so. Lengths of the same name are the same.

    Args:
        onnx: The library.
        inputs: As onnx read them.
        input_size: See `onnx_summary`.
        where: The file's name.

    Raises:
        ShapeError: A length is open, or the number of axes is another.
        UnknownNameError: There is no input of that name.
    """
    given = _by_name(inputs, input_size, where)
    sizes = Sizes()
    lengths = {i.name: _lengths(i, given.get(i.name), where, sizes) for i in inputs}
    open_: dict[str, list[int]] = {}
    for one in inputs:
        found = lengths[one.name]
        if found is None:
            sizes.types[one.name] = one.type
            continue
        for axis, length in enumerate(found):
            if isinstance(length, str) and length in sizes.symbols:
                found[axis] = sizes.symbols[length]
            elif not isinstance(length, int):
                open_.setdefault(one.name, []).append(axis)
    if open_:
        raise _open(open_, lengths, where)
    for one in inputs:
        found = lengths[one.name]
        if found is None:
            continue
        _require_sane(one.name, found, where)
        code = one.type.tensor_type.elem_type
        sizes.types[one.name] = onnx.helper.make_tensor_type_proto(code, found)
        if not found and one.name in given:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(code)
            sizes.numbers[one.name] = np.array(given[one.name][0], dtype=dtype)
    return sizes


def _by_name(
    inputs: Sequence[Any], input_size: InputSize | None, where: str
) -> dict[str, Shape]:
    """What is given, by the names of inputs; in order, those without axes left out."""
    names = [one.name for one in inputs]
    if input_size is None:
        return {}
    if isinstance(input_size, Mapping):
        for name in input_size:
            if name not in names:
                raise UnknownNameError(f"input of {where}", name, names)
        return {name: _numbers(size, where) for name, size in input_size.items()}
    sized = [one.name for one in inputs if _has_axes(one)]
    flat = len(input_size) > 0 and all(isinstance(one, int) for one in input_size)
    each = [input_size] if flat else list(input_size)
    if len(each) not in (len(sized), len(names)):
        shown = printable(", ".join(names))
        raise ShapeError(
            f"summary: {where} has {len(names)} inputs ({shown}), and "
            f"{len(each)} {'size is' if len(each) == 1 else 'sizes are'} given. Give "
            "one for each, or give some by their names."
        )
    wanted = sized if len(each) == len(sized) else names
    return {n: _numbers(one, where) for n, one in zip(wanted, each, strict=True)}


def _has_axes(one: Any) -> bool:
    tensor = one.type.tensor_type
    return not tensor.HasField("shape") or len(tensor.shape.dim) > 0


def _numbers(size: object, where: str) -> Shape:
    numbers = (size,) if isinstance(size, int) else size
    if not isinstance(numbers, Sequence) or not all(
        isinstance(one, int) and not isinstance(one, bool) for one in numbers
    ):
        raise ArgumentError(
            f"summary: {where}: input_size={size!r} is not a size. Give integers, such "
            "as (3, 224, 224)."
        )
    return tuple(numbers)


def _lengths(
    one: Any, given: Shape | None, where: str, sizes: Sizes
) -> list[int | str | None] | None:
    """Each axis as a length, the name of one, or None; None if it is no tensor."""
    tensor = one.type.tensor_type
    if not one.type.HasField("tensor_type"):
        return None
    if not tensor.HasField("shape"):
        if given is None:
            raise ShapeError(
                f"summary: {where}: input {one.name!r} does not say how many axes it "
                "has.",
                remedies=[
                    _give(
                        {one.name: (1, 3, 224, 224)}, "all of them, as in this example"
                    )
                ],
            )
        return list(given)
    declared: list[int | str | None] = [
        d.dim_value if d.dim_value > 0 else _symbol(d.dim_param)
        for d in tensor.shape.dim
    ]
    if given is None or not declared:
        if given is not None and len(given) != 1:
            raise ShapeError(
                f"summary: {where}: input {one.name!r} is one number without axes, and "
                f"{given} is given. Give its value, or leave it out."
            )
        return _with_batch(declared, sizes)
    if any(length < 1 for length in given):
        raise ShapeError(
            f"summary: {where}: {given} is not a size for input {one.name!r}. Give "
            "integers of at least 1."
        )
    if len(given) == len(declared) - 1:
        first = declared[0] if isinstance(declared[0], int) else 1
        given = (first, *given)
    if len(given) != len(declared):
        raise ShapeError(
            f"summary: {where}: input {one.name!r} has {len(declared)} axes with the "
            f"batch, and {given} is given. Give {len(declared) - 1} numbers, or "
            f"{len(declared)} with the batch."
        )
    for length, wanted in zip(given, declared, strict=True):
        if isinstance(wanted, str):
            sizes.symbols.setdefault(wanted, length)
        elif isinstance(wanted, int) and wanted != length:
            sizes.as_declared = False
    return list(given)


def _symbol(name: str) -> str | None:
    """A name for a length; some files write ? for every one that is open."""
    return name if any(letter.isalnum() for letter in name) else None


def _with_batch(
    declared: list[int | str | None], sizes: Sizes
) -> list[int | str | None]:
    """The batch as 1, where the file leaves it open."""
    found = list(declared)
    for axis, length in enumerate(declared):
        named = isinstance(length, str) and BATCH.fullmatch(length)
        first = axis == 0 and len(declared) > 1 and not isinstance(length, int)
        if named or first:
            found[axis] = 1
            if isinstance(length, str):
                sizes.symbols.setdefault(length, 1)
    return found


def _open(
    open_: Mapping[str, list[int]],
    lengths: Mapping[str, list[int | str | None] | None],
    where: str,
) -> ShapeError:
    """Asks for the lengths that nothing says, with an example to copy."""
    parts, example = [], {}
    for name, axes in open_.items():
        found = lengths[name] or []
        called = [
            f"{axis} ({found[axis]})" if found[axis] else str(axis) for axis in axes
        ]
        several = f"axes {', '.join(called[:-1])} and {called[-1]}"
        which = several if len(axes) > 1 else f"axis {called[0]}"
        parts.append(f"input {name!r} leaves {which} open")
        some = EXAMPLES.get(len(found), 16)
        example[name] = tuple(one if isinstance(one, int) else some for one in found)
    return ShapeError(
        f"summary: {where}: {'; '.join(parts)}.",
        remedies=[_give(example, "your size in place of this example")],
    )


def _give(example: Mapping[str, Shape], what: str) -> Remedy:
    return Remedy(f"give {what}", "input_size", example)


def _require_sane(name: str, lengths: Sequence[Any], where: str) -> None:
    if len(lengths) > MOST_AXES or any(one > LARGEST_LENGTH for one in lengths):
        shown = " x ".join(f"{one:,}" for one in lengths)
        raise ShapeError(
            f"summary: {where}: input {name!r} is {shown}; at most {MOST_AXES} axes of "
            f"{LARGEST_LENGTH:,} are followed. Give a smaller size."
        )
