"""``capture``: the one way to get at what layers compute."""

from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.capturing.arrival import Slopes
from convscope.analysis.capturing.choosing import Layers
from convscope.analysis.capturing.differentiating import require_gradients
from convscope.analysis.capturing.forward import Pass, Taken, passed
from convscope.analysis.capturing.given import Given
from convscope.analysis.capturing.record import Capture, Captured
from convscope.analysis.capturing.target import Target, target_value
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.tracing.calls import tensors_of
from convscope.errors import ArgumentError
from convscope.execution.outputs import map_tensors


def capture(
    net: nn.Module,
    inputs: Given,
    layers: Layers = None,
    *,
    layer_inputs: bool = False,
    gradients: bool = False,
    target: Target = None,
    training: bool = False,
) -> Capture:
    """Outputs, inputs and gradients of a network's layers, from one forward pass.

    Functions that ``forward`` calls (``F.relu``, ``x + y``, ``torch.cat``) count as
    layers, each named by the module it is called in, what it is and its number there:
    ``layer1.0.add_1``. The second call of a module is ``path:2``. Values are copied
    before a layer that works in place can overwrite them; only those of the chosen
    layers are kept. The network is as before afterwards, also after an error: hooks,
    mode, buffers, gradients, random numbers.

    Args:
        net: Any torch.nn.Module, also optimized or compiled.
        inputs: (N, C, ...), with the batch axis; a tuple of tensors for several
            inputs, a dict for inputs by name.
        layers: Paths (``"layer1.0.conv1"``), globs (``"features.*"``, in which ``*``
            also stands for dots and which mean layers, or modules with layers inside
            where no layer matches), labels of functions (``"relu_2"``), types
            (``nn.Conv2d``) or modules of the network; one or several. By default every
            layer.
        layer_inputs: Whether to keep what each layer takes, too.
        gradients: Whether to go back from ``target`` and keep the gradient at each
            output (and at each input with ``layer_inputs``).
        target: What the gradients are of: a class, whose outputs are summed over the
            images; a tensor (N,) of classes; several integers for one element of each
            image's output; a function of the output that gives one number, as a loss
            does.
        training: Run it as in training, where batch norms use the batch and dropout
            drops, instead of in evaluation.

    Raises:
        UnknownNameError: There is no layer of that name; names the nearest.
        ArgumentError: ``layers`` matches nothing, ``target`` is not in the output, or
            the network cannot be looked into, as a scripted one.
        ShapeError: The network does not work on these inputs; see `check`.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten())
    >>> found = capture(net, torch.zeros(4, 1, 8, 8), nn.Conv2d)
    >>> list(found), found["0"].shape
    (['0'], (4, 2, 6, 6))
    """
    where = "capture"
    if target is not None and not gradients:
        raise ArgumentError(
            f"{where}: target={target!r} is for gradients. Add gradients=True."
        )
    words, slopes, notes = None, Slopes(torch.empty(0), (), where), []
    with passed(
        net,
        inputs,
        layers,
        training=training,
        with_inputs=layer_inputs,
        with_graph=gradients,
        where=where,
    ) as found:
        if gradients:
            value, words = target_value(found.output, target, where)
            slopes = _gradients(found, value, where)
            notes = _without_graph(found)
    made: dict[str, Captured] = {}
    for taken in found.taken:
        if not tensors_of(taken.output) and layers is None:
            continue  # such as x.tolist()
        made[taken.call.label] = Captured(
            label=taken.call.label,
            path=taken.call.path,
            kind=kind_of(taken),
            call=taken.call.turn + 1,
            output=taken.output,
            inputs=taken.inputs if layer_inputs else None,
            gradient=_like(taken, slopes) if gradients else None,
            input_gradients=(
                tuple(slopes.at(place) for place in taken.input_edges)
                if gradients and layer_inputs
                else None
            ),
        )
    return Capture(
        name=type(found.root).__name__,
        layers=made,
        output=map_tensors(Tensor.detach, found.output),
        training=training,
        target=words,
        notes=(*found.notes, *notes),
    )


def kind_of(taken: Taken) -> str:
    """The layer or function as one would write it."""
    call = taken.call
    if call.module is not None:
        return layer_text(call.module)
    return f"{call.name}({call.arguments})"


def _gradients(found: Pass, value: Tensor, where: str) -> Slopes:
    """Of the target at every place that was kept."""
    require_gradients(value, where)
    return Slopes(
        value,
        (
            place
            for taken in found.taken
            for place in (*taken.output_edges, *taken.input_edges)
        ),
        where,
    )


def _like(taken: Taken, slopes: Slopes) -> Any:
    """The gradients of a call's outputs, in the same structure."""
    places = iter(taken.output_edges)
    return map_tensors(lambda _: slopes.at(next(places)), taken.output)  # type: ignore[arg-type, return-value]


def _without_graph(found: Pass) -> list[str]:
    """A note on calls whose outputs have no history, as within ``no_grad``."""
    names = [
        taken.call.label or "the network"
        for taken in found.taken
        if taken.output_edges
        and all(edge is None for edge in taken.output_edges)
        and any(t.is_floating_point() for t in tensors_of(taken.output))
    ]
    if not names:
        return []
    return [f"computed without a graph, hence without a gradient: {', '.join(names)}"]
