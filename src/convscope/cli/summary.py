"""``convscope summary``: a network's shapes, costs and receptive fields."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import torch
import typer

from convscope import models
from convscope.analysis import Summary, versus
from convscope.analysis import summary as summarize
from convscope.cli.network import argument_of, from_factory, size_of
from convscope.errors import ArgumentError
from convscope.terminal import columns, json_text, say

Sizes: TypeAlias = list[tuple[int, ...]] | dict[str, tuple[int, ...]]


def summary(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model's name, package.module:factory, a run folder, or an ONNX "
            "file.",
        ),
    ],
    input_size: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="[NAME=]C,H,W",
            help="Size of the input without the batch axis; once for each input, in "
            "order or by name. By default what the model is made for.",
        ),
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option(
            "--arg", metavar="KEY=VALUE", help="An argument of the factory or model."
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option("--versus", metavar="MODEL", help="A second network beside it."),
    ] = None,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Deepest level of nesting to show.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print one row a line.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a table for a document.")
    ] = False,
) -> None:
    """Print what MODEL is before it has weights: shapes, costs, receptive fields.

    Example: convscope summary resnet9 --input 3,64,64 --versus lenet5
    """
    if as_json + as_csv + as_markdown > 1:
        raise ArgumentError(
            "summary: --json, --csv and --markdown exclude each other. Choose one."
        )
    if other and (as_csv or as_markdown):
        raise ArgumentError(
            "summary: --versus prints text or --json. Leave --csv and --markdown out."
        )
    sizes = _sizes(input_size or ())
    named = dict(argument_of(text, where="summary") for text in arguments or ())
    first = _summary(model, sizes, named)
    if other is not None:
        second = _summary(other, sizes, {})
        if as_json:
            typer.echo(json_text([first.to_dict(), second.to_dict()]))
        else:
            say(versus(first, second, columns()))
    elif as_json:
        typer.echo(json_text(first.to_dict()))
    elif as_csv:
        say(first.to_csv(depth), end="")
    elif as_markdown:
        say(first.to_markdown(depth))
    else:
        say(first.to_text(columns(), depth))


def _summary(model: str, sizes: Sizes, named: dict[str, Any]) -> Summary:
    """The summary of whatever ``model`` names."""
    path = Path(model)
    if path.is_dir():
        return _of_run(path, sizes)
    if path.suffix == ".onnx":
        from convscope.analysis.onnx import onnx_summary

        return onnx_summary(path, sizes or None)
    if ":" in model:
        net = from_factory(model, named, where="summary", device="meta")
        if not sizes:
            raise ArgumentError(
                f"summary: {model} does not say what input it takes. Give --input, "
                "such as --input 3,224,224."
            )
        return summarize(net, sizes, name=model.rpartition(":")[2])
    if len(path.parts) > 1:
        raise ArgumentError(
            f"summary: {model} is not there. Give a run folder, an ONNX file, or a "
            "model's name."
        )
    return _of_our_model(model, sizes, named)


def _of_our_model(name: str, sizes: Sizes, named: dict[str, Any]) -> Summary:
    card = models.find(name)
    shape: tuple[int, ...] = card.input_shape
    if sizes:
        given = list(sizes.values() if isinstance(sizes, dict) else sizes)
        if len(given) != 1 or len(given[0]) < 2:
            raise ArgumentError(
                f"summary: {name} takes one input (C, H, W). Give --input once, such "
                f"as --input {','.join(map(str, shape))}."
            )
        shape = given[0]
    with torch.device("meta"):
        arguments = {"num_classes": card.num_classes, **named}
        net = models.build(
            name, in_channels=shape[0], input_size=shape[1:], **arguments
        )
    return summarize(net, shape, name=name)


def _of_run(folder: Path, sizes: Sizes) -> Summary:
    from convscope.train.run import Run

    run = Run.load(folder)
    return summarize(run.net, sizes or [run.spec.input_shape], name=folder.name)


def _sizes(texts: Sequence[str]) -> Sizes:
    """In order, or by name if every one has one."""
    named = [text.rpartition("=") for text in texts]
    if not any(equals for _, equals, _ in named):
        return [size_of(text, where="summary") for text in texts]
    for text, (name, _, _) in zip(texts, named, strict=True):
        if not name:
            raise ArgumentError(
                f"summary: --input {text} has no name, and another has one. Give all "
                "by name, such as --input image=3,224,224, or all in order."
            )
    return {name: size_of(size, where="summary") for name, _, size in named}
