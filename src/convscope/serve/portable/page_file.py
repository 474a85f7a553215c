"""``page_file``: the page of a run as one HTML file that needs no server."""

import base64
import html
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.errors import ConvscopeError
from convscope.functional.filters import filter_kernel
from convscope.serve.edits import kernels, named_filters
from convscope.serve.page import Page
from convscope.serve.portable.checked import checked_program
from convscope.serve.portable.interpret import interpret
from convscope.serve.portable.modules import name_of, one_script
from convscope.serve.portable.packing import digest, packed_json, packed_numbers
from convscope.serve.portable.program import Array, PortableError, Program
from convscope.serve.portable.recipes import Recipes
from convscope.serve.subject import Subject
from convscope.train.checkpoint import whole_or_absent
from convscope.viz.tokens import stylesheet

STATIC = Path(__file__).parent.parent / "static"
SHEETS = ("page.css", "cards.css", "inspector.css")
CAN = ("values", "fields", "explain", "filters", "edit", "examples")
MOST_BYTES = 40_000_000
MOST_MULTIPLY_ADDS = 2_000_000_000  # some seconds a drawing
EXAMPLES, EXAMPLE_BYTES = 20, 60_000
CHECKED = 4  # pictures that the program must agree on


def page_file(subject: Subject, path: str | Path) -> Path:
    """Writes the page of a subject as one file that opens from disk.

    Args:
        subject: What it shows.
        path: Of the file, which is replaced.

    Raises:
        PortableError: The network has a layer that the file cannot do, or is too large;
            names the layer, and what to do.
        WriteError: The file cannot be written; what was there before still is.
    """
    path = Path(path)
    made = page_text(subject).encode()
    with whole_or_absent(path) as file:
        file.write(made)
    return path


def page_text(subject: Subject) -> str:
    """The whole file."""
    page = Page(subject)
    _require_small(page)
    if subject.preprocessing.bits != 8:
        raise PortableError(
            f"play: the run takes pictures of bits={subject.preprocessing.bits}; one "
            "file takes those of 8. Use the page with its server."
        )
    examples = _examples(page)
    inputs = _inputs(subject, examples)
    recipes = Recipes(subject.net, page.cards, inputs[:1])
    program = checked_program(subject, tuple(recipes.labels), inputs)
    values = interpret(program, inputs[:1])
    numbers, listed = packed_numbers(program.constants)
    own = subject.preprocessing
    facts = {
        "page": _described(page, program, bool(examples["pictures"])),
        "program": {
            "operations": program.operations,
            "constants": listed,
            "cards": program.cards,
            "output": program.output,
            "input": [1, *subject.input_shape],
            "parameters": program.parameters,
        },
        "preprocessing": own.model_dump(mode="json"),
        "temperature": subject.temperature,
        "fields": [page.fields(card.id) for card in page.cards.cards],
        "examples": examples,
        "filters": {name: _filter(name) for name in named_filters()},
        "recipes": recipes.all(program, values),
    }
    made = _html(subject.title, packed_json(facts), numbers)
    if len(made) > MOST_BYTES:
        raise PortableError(
            f"play: the page would have {len(made) / 1e6:.0f} MB, more than "
            f"{MOST_BYTES / 1e6:.0f}. Use the page with its server."
        )
    return made


def _require_small(page: Page) -> None:
    parameters = sum(card.parameters for card in page.cards.cards)
    if 4 * parameters > MOST_BYTES:
        largest = max(page.cards.cards, key=lambda card: card.parameters)
        raise PortableError(
            f"play: the network has {parameters:,} parameters, {largest.parameters:,} "
            f"of them in layer {largest.label!r}; one file holds "
            f"{MOST_BYTES // 4:,}. Use the page with its server."
        )
    work = sum(card.multiply_adds for card in page.cards.cards)
    if work > MOST_MULTIPLY_ADDS:
        largest = max(page.cards.cards, key=lambda card: card.multiply_adds)
        raise PortableError(
            f"play: the network multiplies {work:,} times for an input, most in layer "
            f"{largest.label!r}; a page in one file does {MOST_MULTIPLY_ADDS:,}. Use "
            "the page with its server."
        )


def _described(page: Page, program: Program, has_examples: bool) -> dict[str, Any]:
    """What the page is told first: nothing that a file cannot do."""
    found = page.describe()
    cards = [
        {**card, "has_filters": _has_filters(page, program, card["id"])}
        for card in found["cards"]
    ]
    changes = any(card["has_filters"] for card in cards)
    needs = {"examples": has_examples, "filters": changes, "edit": changes}
    can = [name for name in CAN if needs.get(name, True)]
    return {**found, "cards": cards, "can": can, "methods": []}


def _has_filters(page: Page, program: Program, number: int) -> bool:
    """Whether a card's kernels are constants of the program, as the layer has them."""
    card = page.cards[number]
    weight, bias = program.parameters.get(number, (None, None))
    if not card.has_filters or weight is None:
        return False
    constant = program.constants[weight]
    if program.operations[(program.cards[number] or 0) - 1]["op"] != "conv":
        return False
    own = [kernels(page.subject.net, card, k) for k in range(len(constant))]
    return all(
        taken.shape == row.shape
        and np.allclose(taken.numpy(), row, atol=1e-3)
        and (shift is None) == (bias is None)
        for (taken, shift), row in zip(own, constant, strict=True)
    )


def _filter(name: str) -> dict[str, Any]:
    kernel = filter_kernel(name)
    return {"shape": list(kernel.shape), "values": kernel.flatten().tolist()}


def _examples(page: Page) -> dict[str, Any]:
    """Some pictures of the test set and some mistakes, as far as there is room."""
    lists: dict[str, list[dict[str, Any]]] = {"test": [], "mistakes": []}
    pictures: dict[int, str] = {}
    room = EXAMPLE_BYTES
    if page.subject.has_data:
        for kind, kept in lists.items():
            try:
                found = page.examples.listed(kind, 0, EXAMPLES)["examples"]
            except ConvscopeError:  # the data are elsewhere: the page does without
                break
            for one in found:
                pixels = page.examples.pixels(one["id"])
                if one["id"] not in pictures:
                    room -= pixels.size * 4 // 3
                    if room < 0:
                        break
                    pictures[one["id"]] = base64.b64encode(pixels.tobytes()).decode()
                kept.append(one)
            room = max(room, 0) + EXAMPLE_BYTES // 2
    return {"lists": lists, "pictures": pictures}


def _inputs(subject: Subject, examples: dict[str, Any]) -> Array:
    """Some pictures; at random where there are none."""
    shape = subject.input_shape
    found = [
        np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)
        for text in list(examples["pictures"].values())[:CHECKED]
    ]
    if not found:
        random = np.random.default_rng(0)
        found = [random.integers(0, 256, shape, np.uint8) for _ in range(CHECKED)]
    pixels = torch.from_numpy(np.stack(found))
    made: Array = subject.preprocessing.normalize(pixels).numpy()
    return made


def _html(title: str, facts: str, numbers: str) -> str:
    """The frame of the page with everything in it, and leave for nothing else."""
    source = f"new {name_of('file_source.js')}.FileSource(document)"
    script = one_script(
        STATIC,
        ("main.js", "file_source.js"),
        f"{name_of('main.js')}.open({source});",
    )
    sheets = [(STATIC / name).read_text("utf-8") for name in SHEETS]
    style = "\n".join([stylesheet(), *sheets])
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; "
        f"style-src '{digest(style)}'; img-src data: blob:; media-src blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{html.escape(title)}</title>"
    )
    kept = [
        line
        for line in (STATIC / "index.html").read_text("utf-8").splitlines()
        if 'rel="stylesheet"' not in line and 'type="module"' not in line
    ]
    frame = "\n".join(kept).replace("<title>convscope</title>", head)
    frame = frame.replace("</head>", f"<style>{style}</style>\n</head>")
    data = (
        f'<script type="text/plain" id="facts">{facts}</script>\n'
        f'<script type="text/plain" id="numbers">{numbers}</script>\n'
        f"<script>{script}</script>\n"
    )
    return frame.replace("</body>", f"{data}</body>") + "\n"
