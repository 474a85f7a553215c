"""What lectures on convolutional networks work out, computed anew by the library.

The figures to compare with are in ``tests/golden/lectures.json``, the pictures are of a
digit that ships with the package.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import convscope as cs

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "lectures.json"
FIGURES: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
# Kernels of image processing that lectures lay on photographs.
KERNELS = {
    "edges, 4 neighbors": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "edges, 8 neighbors": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "box blur": [[1 / 9] * 3] * 3,
    "Gaussian blur": [[1 / 16, 1 / 8, 1 / 16], [1 / 8, 1 / 4, 1 / 8],
                      [1 / 16, 1 / 8, 1 / 16]],
    "horizontal edges": [[-1, -1, -1], [0, 0, 0], [1, 1, 1]],
    "vertical edges": [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A number of a lecture.

    Attributes:
        what: It counts.
        code: The expression that gives it, after ``import convscope as cs``.
    """

    what: str
    code: str

    def value(self) -> Any:
        """What the expression gives."""
        return eval(self.code, {"cs": cs})  # noqa: S307 - our own text, above


def figures() -> list[Figure]:
    """The numbers, in the order of ``expected``."""
    layer, photo = FIGURES["convolution"], FIGURES["photograph"]
    links, page = FIGURES["connectivity"], FIGURES["digit_page"]
    size = tuple(layer["sizes"])
    pixels = f"{photo['channels']} * {' * '.join(map(str, photo['sizes']))}"
    into, out, taps = layer["in_channels"], layer["out_channels"], layer["kernel_size"]
    units = links["sizes"][0] * links["sizes"][1]
    described = f"convolution {into} to {out} channels, {taps[0]} x {taps[1]}"
    inputs = f"an image of {links['sizes'][0]} x {links['sizes'][1]}"
    found = [
        Figure(
            f"parameters of a {described}",
            f"cs.arithmetic.convolution_parameters({into}, {out}, {tuple(taps)})",
        ),
        Figure(
            f"its multiply-adds on {size[0]} x {size[1]}, padding {layer['padding']}",
            f"cs.arithmetic.convolution_multiply_adds({into}, {out}, {tuple(taps)}, "
            f"cs.arithmetic.output_shape({size}, {taps[0]}, "
            f"padding={layer['padding']}))",
        ),
        Figure(
            f"weights from {inputs} to {units:,} units, each to each",
            f"cs.arithmetic.fully_connected_weights({units}, {units})",
        ),
        Figure(
            "the same, each unit to its own patch of 10 x 10",
            f"cs.arithmetic.locally_connected_weights({units}, (10, 10))",
        ),
        Figure(
            f"{links['filters']} shared filters of 10 x 10",
            f"cs.arithmetic.convolutional_weights({links['filters']}, (10, 10))",
        ),
        Figure("values of a color photograph of 972 x 1920", pixels),
        Figure(
            "weights from that photograph to as many units",
            f"cs.arithmetic.fully_connected_weights({pixels}, {pixels})",
        ),
    ]
    found += [
        Figure(
            f"what {each['layers']} convolutions of {each['kernel_size']} see, "
            "along an axis",
            f"cs.arithmetic.receptive_field([cs.arithmetic.Window("
            f"{each['kernel_size']})] * {each['layers']}).size",
        )
        for each in FIGURES["receptive_fields"]
    ]
    found += [
        Figure(
            f"{each['out_channels']} convolutions of 1 x 1 on "
            f"{each['in_channels']} x {each['sizes'][0]} x {each['sizes'][1]}",
            f"({each['out_channels']}, "
            f"*cs.arithmetic.output_shape({tuple(each['sizes'])}, 1))",
        )
        for each in FIGURES["pointwise"]
    ]
    size_of_page = page["size"]
    return [
        *found,
        Figure(
            "parameters of the network that reads digits on a page",
            "cs.summary(cs.models.build('lenet_page'), "
            f"(1, {size_of_page}, {size_of_page})).parameters",
        ),
    ]


def expected() -> list[Any]:
    """What a lecture says of each of ``figures``."""
    layer, links = FIGURES["convolution"], FIGURES["connectivity"]
    return [
        layer["parameters"], layer["multiply_adds"], links["fully_connected"],
        links["locally_connected"], links["convolutional"],
        FIGURES["photograph"]["values"], FIGURES["photograph"]["fully_connected"],
        *(each["size"] for each in FIGURES["receptive_fields"]),
        *((each["out_channels"], *each["sizes"]) for each in FIGURES["pointwise"]),
        FIGURES["digit_page"]["parameters"],
    ]  # fmt: skip


def table() -> str:
    """The numbers as a table in MyST."""
    rows = []
    for each in figures():
        value = each.value()
        said = f"{value:,}" if isinstance(value, int) else " x ".join(map(str, value))
        rows.append(f"| {each.what}<br>`{each.code}` | {said} |")
    return "\n".join(["| what | number |", "| --- | ---: |", *rows])


def filtering() -> nn.Conv2d:
    """A convolution that has a kernel of image processing in each channel."""
    layer = nn.Conv2d(1, len(KERNELS), 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(list(KERNELS.values()))[:, None])
    return layer


def draw_filtering(folder: Path) -> None:
    """Write ``kernels.svg`` and ``filtered.svg``: the kernels, and a digit under each.

    Args:
        folder: It is there.
    """
    digits = cs.data.load("digits", size=32)
    pixels = digits.test.pixels[:1]
    layer = filtering()
    name = "kernels of image processing"
    found = cs.analysis.filters(layer, name=name)
    cs.viz.filters(found, scale="own").save(folder / "kernels.svg")
    maps = cs.analysis.feature_maps(
        layer, pixels.float() / 255, picture=pixels[0].numpy().transpose(1, 2, 0),
        name=name,
    )  # fmt: skip
    cs.viz.feature_maps(maps, scale="channel").save(folder / "filtered.svg")
