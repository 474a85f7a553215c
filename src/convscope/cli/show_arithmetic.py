"""``convscope show arithmetic``: a convolution in motion, window by window."""

from typing import Annotated

import numpy as np
import typer

from convscope.analysis import convolution_steps
from convscope.arithmetic.axis import per_axis
from convscope.arithmetic.borders import PADDING_MODES, PaddingMode
from convscope.cli.options import JsonFlag, known
from convscope.cli.show_output import SaveFilmFlag, as_json, deliver
from convscope.errors import ArgumentError

_WHERE = "show arithmetic"
_SIZES = "N or H,W or D,H,W"


def arithmetic(
    input_size: Annotated[
        str, typer.Option("--input", metavar=_SIZES, help="Size of the input.")
    ] = "5,5",
    kernel_size: Annotated[
        str, typer.Option("--kernel", metavar=_SIZES, help="Size of the kernel.")
    ] = "3",
    stride: Annotated[str, typer.Option(metavar=_SIZES, help="Step.")] = "1",
    padding: Annotated[
        str, typer.Option(metavar="N|NAME", help="Elements, or same, valid, full.")
    ] = "0",
    padding_mode: Annotated[
        str,
        typer.Option(
            metavar="NAME", help=f"What padding holds: {', '.join(PADDING_MODES)}."
        ),
    ] = "zeros",
    dilation: Annotated[
        str, typer.Option(metavar=_SIZES, help="Step of the taps.")
    ] = "1",
    channels: Annotated[int, typer.Option(help="Of the input, 1 to 4.")] = 1,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="A transposed convolution.")
    ] = False,
    output_padding: Annotated[
        str, typer.Option(metavar=_SIZES, help="Added at the end; transposed only.")
    ] = "0",
    flip: Annotated[
        bool, typer.Option("--flip", help="Turn the kernel, as signal processing does.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the numbers on the cells.")] = 0,
    save: SaveFilmFlag = None,
    show_json: JsonFlag = False,
) -> None:
    """Draw a film of a convolution: window, products, sum, row of its matrix.

    Example: convscope show arithmetic --input 5,5 --stride 2 --padding 1 --save a.html
    """
    known(padding_mode, PaddingMode, "padding-mode")
    if not 1 <= channels <= 4:
        raise ArgumentError(f"{_WHERE}: --channels {channels} is not from 1 to 4.")
    space = _numbers(input_size, "--input")
    if not 1 <= len(space) <= 3 or min(space) < 1 or max(space) > 64:
        raise ArgumentError(
            f"{_WHERE}: --input {input_size} is not 1 to 3 sizes from 1 to 64."
        )

    def each(text: str, flag: str) -> tuple[int, ...]:
        numbers = _numbers(text, flag)
        one = numbers[0] if len(numbers) == 1 else numbers
        return per_axis(one, len(space), name=flag, minimum=0, where=_WHERE)

    taps = each(kernel_size, "--kernel")
    if min(taps) < 1 or max(taps) > 16:
        raise ArgumentError(f"{_WHERE}: --kernel {kernel_size} is not from 1 to 16.")
    rng = np.random.default_rng(seed)
    found = convolution_steps(
        rng.integers(0, 4, (channels, *space)),
        rng.integers(-1, 3, (channels, *taps)),
        stride=each(stride, "--stride"),
        padding=each(padding, "--padding") if padding[:1].isdigit() else padding,
        padding_mode=padding_mode,  # type: ignore[arg-type]
        dilation=each(dilation, "--dilation"),
        transposed=transposed,
        output_padding=each(output_padding, "--output-padding"),
        flip=flip,
        axes=len(space),
    )
    if show_json:
        as_json(found)
        return
    from convscope.viz import arithmetic as film

    deliver(film(found), save, name="arithmetic", suffix=".html")


def _numbers(text: str, flag: str) -> tuple[int, ...]:
    parts = text.replace("x", ",").split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise ArgumentError(
            f"{_WHERE}: {flag} {text} is not {_SIZES}. Write {flag} 3 or {flag} 3,5."
        )
    return tuple(int(part) for part in parts)
