"""The gallery of convolution arithmetic: a page with a film for every case.

Page and films are made when the documentation is built, from the settings below, so
that each shows what the library computes.
"""

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

import convscope as cs
from convscope.viz.film import Film
from lecture_figures import FIGURES, KERNELS, draw_filtering, table

FILMS = "films"
Rows = list[Any]


def numbers(rows: int, columns: int) -> Rows:
    """Small numbers that differ from their neighbors.

    >>> numbers(2, 3)
    [[0, 2, 4], [3, 0, 2]]
    """
    return [[(3 * y + 2 * x) % 5 for x in range(columns)] for y in range(rows)]


def kernel(side: int) -> Rows:
    """Weights from -1 to 2; no two rows or columns are alike.

    >>> kernel(2)
    [[-1, 0], [1, -1]]
    """
    return [[(2 * y + x + y * x) % 4 - 1 for x in range(side)] for y in range(side)]


@dataclass(frozen=True)
class Case:
    """A convolution of the gallery.

    Attributes:
        name: Of its film.
        title: Heading.
        image: Its input.
        kernel: Its weights.
        settings: As `cs.analysis.convolution_steps` takes them.
        output: Size along each axis.
        remark: A sentence, where there is something to see.
    """

    name: str
    title: str
    image: Rows
    kernel: Rows
    settings: dict[str, Any] = field(default_factory=dict)
    output: int = 0
    remark: str = ""

    @property
    def code(self) -> str:
        """The lines of Python that make the film."""
        settings = "".join(f", {name}={value!r}" for name, value in
                           self.settings.items())  # fmt: skip
        return (
            f"image = {_literal(self.image)}\n"
            f"kernel = {_literal(self.kernel)}\n"
            f"steps = cs.analysis.convolution_steps(image, kernel{settings})\n"
            "film = cs.viz.arithmetic(steps)"
        )

    def film(self) -> Film[Any]:
        """The film."""
        steps = cs.analysis.convolution_steps(self.image, self.kernel, **self.settings)
        return cs.viz.arithmetic(steps)

    def formula(self) -> str:
        """How the size of the output follows, with this case's numbers."""
        size, taps = len(self.image), len(self.kernel)
        stride = self.settings.get("stride", 1)
        padding = self.settings.get("padding", 0)
        span = (taps - 1) * self.settings.get("dilation", 1) + 1
        if self.settings.get("transposed"):
            more = self.settings.get("output_padding", 0)
            terms = f"({size} − 1) × {stride}"
            terms += f" − 2 × {padding}" if padding else ""
            terms += f" + {span}" + (f" + {more}" if more else "")
            return f"{terms} = {self.output}"
        top = f"{size}" + (f" + 2 × {padding}" if padding else "") + f" − {span}"
        exact = (size + 2 * padding - span) % stride == 0
        over = f"({top}) / {stride}"
        return f"{over if exact else f'⌊{over}⌋'} + 1 = {self.output}"

    def words(self) -> str:
        """The settings as a table says them."""
        shape = " x ".join(map(str, _shape(self.image)))
        taps = " x ".join(map(str, _shape(self.kernel)))
        kind = "transposed, " if self.settings.get("transposed") else ""
        others = [f"{name.replace('_', ' ')} {value}"
                  for name, value in self.settings.items()
                  if name not in ("transposed", "flip")]  # fmt: skip
        others += ["kernel turned around"] if self.settings.get("flip") else []
        said = ", ".join(others) or "stride 1, no padding"
        return f"{kind}input {shape}, kernel {taps}, {said}"


def _shape(rows: Rows) -> list[int]:
    return [len(rows), *(_shape(rows[0]) if isinstance(rows[0], list) else [])]


def _literal(rows: Rows) -> str:
    """Nested lists, a row in a line."""
    if not isinstance(rows[0], list):
        return str(rows)
    return "[\n" + "".join(f"    {row},\n" for row in rows) + "]"


def _case(
    name: str, title: str, size: int, taps: int, output: int, **settings: Any
) -> Case:
    return Case(name, title, numbers(size, size), kernel(taps), settings, output)


# V. Dumoulin and F. Visin, A guide to convolution arithmetic for deep learning, 2016,
# arXiv 1603.07285: sections 2, 4 and 5.1. The numbers on the cells are ours.
GUIDE = (
    _case("no-padding", "No padding, stride 1", 4, 3, 2),
    _case("some-padding", "Some padding, stride 1", 5, 4, 6, padding=2),
    _case("half-padding", "Half padding (same), stride 1", 5, 3, 5, padding=1),
    _case("full-padding", "Full padding, stride 1", 5, 3, 7, padding=2),
    _case("strided", "No padding, stride 2", 5, 3, 2, stride=2),
    _case("strided-padded", "Padding, stride 2", 5, 3, 3, stride=2, padding=1),
    _case(
        "strided-odd", "Padding, stride 2, a row left over", 6, 3, 3,
        stride=2, padding=1,
    ),
    _case("transposed", "No padding, stride 1, transposed", 2, 3, 4, transposed=True),
    _case(
        "transposed-some-padding", "Some padding, stride 1, transposed", 6, 4, 5,
        padding=2, transposed=True,
    ),
    _case(
        "transposed-half-padding", "Half padding, stride 1, transposed", 5, 3, 5,
        padding=1, transposed=True,
    ),
    _case(
        "transposed-full-padding", "Full padding, stride 1, transposed", 7, 3, 5,
        padding=2, transposed=True,
    ),
    _case(
        "transposed-strided", "No padding, stride 2, transposed", 2, 3, 5,
        stride=2, transposed=True,
    ),
    _case(
        "transposed-strided-padded", "Padding, stride 2, transposed", 3, 3, 5,
        stride=2, padding=1, transposed=True,
    ),
    _case(
        "transposed-strided-odd", "Padding, stride 2, transposed, the row given back",
        3, 3, 6, stride=2, padding=1, output_padding=1, transposed=True,
    ),
    _case("dilated", "Dilation 2", 7, 3, 3, dilation=2),
)  # fmt: skip

_PLUS, _CROSS, _FLIP = (FIGURES[name] for name in ("plus", "cross", "flip"))
# What lectures work out on the blackboard.
LECTURES = (
    Case(
        "plus", "A kernel like a plus", _PLUS["image"], _PLUS["kernel"], {}, 3,
    ),
    Case(
        "cross", "A kernel like a cross", _CROSS["image"], _CROSS["kernel"], {}, 3,
        "The largest sums stand where the image has the kernel's shape.",
    ),
    Case(
        "flipped", "The convolution of signal processing", _FLIP["image"],
        _FLIP["kernel"], {"flip": True}, 2,
        "The kernel is turned around before it is laid on.",
    ),
    Case(
        "not-flipped", "The same without turning the kernel", _FLIP["image"],
        _FLIP["kernel"], {}, 2,
        "Cross-correlation, which libraries of deep learning call convolution.",
    ),
    Case(
        "moving-average", "A moving average", FIGURES["average"]["image"],
        [[1 / 9] * 3] * 3, {}, 8,
        "The hole of zeros is smeared out to the width of the window.",
    ),
    _case("seven", "7 x 7, stride 1", 7, 3, 5),
    _case("seven-stride-2", "7 x 7, stride 2", 7, 3, 3, stride=2),
    Case(
        "seven-stride-3", "7 x 7, stride 3: does not fit", numbers(7, 7), kernel(3),
        {"stride": 3}, 2, "No window reaches the last row and the last column.",
    ),
    _case("seven-padded", "7 x 7, padding 1", 7, 3, 7, padding=1),
    Case(
        "thirty-two", "32 elements, kernel 5, padding 2", numbers(1, 32)[0],
        [1, 0, -1, 0, 1], {"padding": 2}, 32,
        "One axis of a 32 x 32 image; the other one goes alike.",
    ),
)  # fmt: skip
CASES = (*GUIDE, *LECTURES)


def section(case: Case, height: int) -> str:
    """A case in MyST: settings, formula, film, code."""
    said = html.escape(f"{case.title}, in motion", quote=True)
    remark = f" {case.remark}" if case.remark else ""
    return f"""### {case.title}

{case.words()}; output {case.formula()}.{remark}

```{{raw}} html
<iframe class="film" src="{FILMS}/{case.name}.html" title="{said}" loading="lazy"
 style="width:100%;height:{height}px;border:0"></iframe>
```

```python
{case.code}
```
"""


def page(heights: dict[str, int]) -> str:
    """The page, in MyST.

    Args:
        heights: Of each film in CSS pixels, by its name.
    """
    parts = [
        """# Convolution arithmetic

Each film goes through every window: what lies under the kernel, the sum, and the row of
the matrix that computes the same. Those in view play. Sizes are
those of one axis; the numbers on the cells are real. `convscope show arithmetic` makes
such a film of any convolution; in Python it takes the lines below the film, after
these:

```python
import convscope as cs
import torch
from torch import nn
```

## The fifteen cases of the guide

The cases of [Dumoulin and Visin, 2016](https://arxiv.org/abs/1603.07285).

```{raw} html
<script>
addEventListener("message", (event) => {
  for (const film of document.querySelectorAll("iframe.film"))
    if (film.contentWindow === event.source && Number.isFinite(event.data?.filmHeight))
      film.style.height = event.data.filmHeight + "px";
});
</script>
```
"""
    ]
    parts += [section(case, heights[case.name]) for case in GUIDE]
    parts.append("## Worked examples of lectures\n")
    parts += [section(case, heights[case.name]) for case in LECTURES]
    parts.append(f"""### Max pooling, 2 x 2

input 4 x 4, window 2 x 2, stride 2; output (4 − 2) / 2 + 1 = 2. The winners
are framed; each gets the gradient of its window.

```{{raw}} html
<img src="{FILMS}/max-pooling.svg" alt="Winners of a max pooling"
 style="max-width:100%">
```

```python
x = torch.tensor([[{FIGURES["max_pooling"]["image"]}]], dtype=torch.float32)
pool = nn.MaxPool2d(2)
found = cs.analysis.pooling_winners(pool, x, target=lambda pooled: pooled.sum())
cs.viz.pooling_winners(found)
```

### Kernels of image processing

From the left: {", ".join(KERNELS)}; and what each makes of a handwritten digit.

```{{raw}} html
<img src="{FILMS}/kernels.svg" alt="Eight kernels of image processing"
 style="max-width:100%">
<img src="{FILMS}/filtered.svg" alt="A digit under each kernel"
 style="max-width:100%">
```

### Counts and fields

{table()}
""")
    return "\n".join(parts)


def write_films(folder: Path) -> dict[str, int]:
    """Write every film, and how high each is with what plays it."""
    folder.mkdir(parents=True, exist_ok=True)
    heights = {}
    for case in CASES:
        film = case.film()
        film.save(folder / f"{case.name}.html")
        heights[case.name] = film.frames[0].picture.height + 210
    x = torch.tensor(FIGURES["max_pooling"]["image"], dtype=torch.float32)[None, None]
    winners = cs.analysis.pooling_winners(
        nn.MaxPool2d(2), x, target=lambda pooled: pooled.sum(), name="max pooling"
    )
    cs.viz.pooling_winners(winners).save(folder / "max-pooling.svg")
    draw_filtering(folder)
    return heights


def write(app: Any) -> None:
    """Write the page and its films."""
    text = page(write_films(Path(app.outdir) / "gallery" / FILMS))
    path = Path(app.srcdir) / "gallery" / "arithmetic.md"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
