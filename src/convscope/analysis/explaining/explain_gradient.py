"""``explain_gradient``: why a gradient of a network is what it is."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.arrival import Arrival, Slopes
from convscope.analysis.capturing.capture import kind_of
from convscope.analysis.capturing.choosing import Uses, is_glob
from convscope.analysis.capturing.differentiating import require_gradients
from convscope.analysis.capturing.forward import Taken, passed
from convscope.analysis.capturing.given import Given, require_network
from convscope.analysis.capturing.target import Target, target_value
from convscope.analysis.explaining.gradient_record import (
    GradientExplanation,
    GradientPart,
)
from convscope.analysis.explaining.site import (
    Index,
    Site,
    place_text,
    remedy,
    rounding_unit,
    wide,
)
from convscope.analysis.explaining.slope import Variable
from convscope.analysis.explaining.slopes import slopes
from convscope.analysis.tracing.calls import named, tensors_of
from convscope.analysis.tracing.meta_copy import plain_path, uncompiled
from convscope.errors import ArgumentError, ExplanationError, UnknownNameError


def explain_gradient(
    net: nn.Module,
    inputs: Given,
    target: Target,
    of: str,
    index: int | Sequence[int],
    *,
    operand: int = 0,
    training: bool = False,
) -> GradientExplanation:
    """Why one gradient of a network is what it is: upstream times local, added up.

    Each output that uses the number passes back its own gradient (upstream) times how
    much it changes with the number (local): a kernel at the tap, what lies under the
    tap, 1 for the winner of a pooling, the slope of an activation. In training a batch
    norm passes it back also through the mean and the variance of the batch.

    Args:
        net: Any torch.nn.Module.
        inputs: (N, C, ...), with the batch axis; as `capture` takes them.
        target: What the gradient is of, as in `capture`: a class, a class for each
            image, one element, or a function of the output, such as a loss.
        of: A parameter, ``"layer1.0.conv1.weight"``: all calls that use it count; or a
            layer, ``"layer1.0.conv1"``: an element of what it takes. Then the gradient
            is what comes back through this layer alone.
        index: The element: of a parameter by its axes; of a layer's input the image,
            the channel and the place.
        operand: Which tensor, of a layer that takes several.
        training: As in training.

    Raises:
        UnknownNameError: There is no such parameter or layer; names the nearest.
        ArgumentError: There is no such element, or nothing passes back a gradient.
        ShapeError: The network does not work on these inputs; see `check`.
        ExplanationError: What we computed differs from autograd by more than rounding.

    >>> net = nn.Sequential(nn.Conv1d(1, 1, 2, bias=False), nn.Flatten())
    >>> x = torch.tensor([[[3.0, 5.0, 7.0]]])
    >>> print(explain_gradient(net, x, torch.sum, "0.weight", (0, 0, 1)))
    gradient of sum at 0.weight[0, 0, 1]: upstream x local
    through 0 = Conv1d(1, 1, 2, bias=False): 2 outputs use it
    local slope: what lies under its tap
    (0, 0, 0): 1 x 5 = 5
    (0, 0, 1): 1 x 7 = 7
    sum = 12
    """
    where = "explain_gradient"
    if not isinstance(of, str) or is_glob(of):
        raise ArgumentError(
            f"{where}: of={of!r} is not one parameter or layer. Give a name of "
            "net.named_parameters(), or a layer of capture(net, inputs)."
        )
    require_network(net, where)
    plain, of = uncompiled(net), plain_path(of)
    weights = dict(plain.named_parameters(remove_duplicate=False))
    is_parameter = of in weights
    spot = tuple(index) if isinstance(index, Iterable) else (index,)
    if is_parameter:
        _require_index(weights[of], spot, f"parameter {of!r}", where)
    with _naming(of, weights), passed(
        net, inputs, Uses(of) if is_parameter else of, training=training,
        with_inputs=True, with_graph=True, parameters=[of] if is_parameter else (),
        shares=True, where=where,
    ) as found:  # fmt: skip
        value, words = target_value(found.output, target, where)
        require_gradients(value, where)
        if is_parameter:
            parameter: Tensor | None = found.root.get_parameter(of)
            chosen = found.taken
        else:
            parameter = None
            chosen = [next(t for t in found.taken if of in named(t.call))]
            tensor = _operand(chosen[0], operand, where)
            _require_index(tensor, spot, f"the input of {of!r}", where)
        place = _place(chosen, parameter, operand, of, where)
        network, upstream = _gradients(value, place, chosen, parameter, where)
        if network.is_complex():
            raise ArgumentError(
                f"{where}: {of!r} holds complex numbers, whose gradients are not "
                "explained. Choose a parameter or layer of real ones."
            )
        unit = rounding_unit(
            [t for one in chosen for t in (*one.inputs, *tensors_of(one.output))]
        )
        parts = tuple(
            part
            for one, arriving in zip(chosen, upstream, strict=True)
            for part in _parts(
                one, arriving, spot, parameter, operand, network, training
            )
        )
    made = GradientExplanation(
        of, spot, words, parts, float(network[spot].item()), unit, is_parameter,
        tuple(found.notes),
    )  # fmt: skip
    _require_equal(made, remedy(one.call for one in chosen), where)
    return made


@contextlib.contextmanager
def _naming(of: str, weights: Iterable[str]) -> Iterator[None]:
    """Names parameters, too, where there is no such layer."""
    try:
        yield
    except UnknownNameError as error:
        known = {*weights, *error.known}
        raise UnknownNameError("parameter or layer", of, known) from None


def _operand(taken: Taken, number: int, where: str) -> Tensor:
    tensors = taken.inputs
    if not 0 <= number < len(tensors):
        raise ArgumentError(
            f"{where}: operand={number} is not one of the {len(tensors)} tensors that "
            f"{taken.call.label!r} takes."
        )
    return tensors[number]


def _place(
    chosen: list[Taken], parameter: Tensor | None, operand: int, of: str, where: str
) -> Arrival:
    """Where the downstream gradient arrives: at the parameter or at the operand."""
    if parameter is not None:
        return Arrival(torch.autograd.graph.get_gradient_edge(parameter))
    place = chosen[0].input_edges[operand]
    if place is None:
        raise ArgumentError(
            f"{where}: no gradient reaches the input of {of!r}: it holds no real "
            "numbers, or is computed without a graph."
        )
    return place


def _gradients(
    value: Tensor,
    place: Arrival,
    chosen: list[Taken],
    parameter: Tensor | None,
    where: str,
) -> tuple[Tensor, list[list[Tensor | None]]]:
    """The gradient in question, and that at each output of each call."""
    every = [one for taken in chosen for one in taken.output_edges]
    slopes_at = Slopes(value, [place, *every], where).at
    downstream = slopes_at(place)
    upstream = [[slopes_at(one) for one in taken.output_edges] for taken in chosen]
    if downstream is None:
        like = parameter
        if like is None:
            like = chosen[0].inputs[0]
        downstream = torch.zeros_like(like)
    return downstream, upstream


def _parts(
    taken: Taken,
    upstream: list[Tensor | None],
    spot: Index,
    parameter: Tensor | None,
    operand: int,
    network: Tensor,
    training: bool,
) -> list[GradientPart]:
    """What comes back through each output of a call."""
    variable = Variable(spot, operand)
    if parameter is not None:
        name = ""
        if taken.call.module is not None:
            every = taken.call.module.named_parameters()
            name = next(n for n, p in every if p is parameter)
        elif len(taken.arguments) > 2:  # F.conv2d(x, weight, bias), F.linear
            place = [t is parameter for t in taken.arguments[:3]]
            name = "weight" if place[1] else "bias" if place[2] else ""
        variable = Variable(spot, -1, parameter, name)
    parts = []
    module = taken.call.module
    for number, tensor in enumerate(tensors_of(taken.output)):
        arriving = upstream[number]
        if arriving is None:
            continue
        site = Site(
            taken.call, taken.arguments, taken.named, tensor, (),
            training if module is None else module.training,
            rounding_unit((tensor,)), number,
        )  # fmt: skip
        found = None if arriving.is_complex() else slopes(site, variable)
        if found is None:
            parts.append(_taken_over(taken, network, spot))
            break
        values = wide(arriving)[tuple(found.outputs.T)]
        parts.append(
            GradientPart(
                taken.call.label,
                kind_of(taken),
                found.what,
                found.outputs,
                np.asarray(values, dtype=np.float64).reshape(-1),
                found.values,
                dict(found.parts or {}),
                found.units,
            )
        )
    return parts


def _taken_over(taken: Taken, network: Tensor, spot: Index) -> GradientPart:
    """A gradient that is not explained: the network's own, as one term."""
    return GradientPart(
        taken.call.label, kind_of(taken),
        "not explained, gradient taken from the network",
        np.zeros((1, len(spot)), dtype=np.int64) + np.array(spot, dtype=np.int64),
        np.ones(1), np.array([float(network[spot].item())]), {},
    )  # fmt: skip


def _require_index(tensor: Tensor, index: Index, what: str, where: str) -> None:
    shape = tuple(tensor.shape)
    if len(index) != len(shape):
        numbers = "number" if len(index) == 1 else "numbers"
        raise ArgumentError(
            f"{where}: index={index} has {len(index)} {numbers}, but {what} has shape "
            f"{shape}. Give {len(shape)}."
        )
    for one, size in zip(index, shape, strict=True):
        whole = hasattr(one, "__index__") and not isinstance(one, bool)
        if not whole or not 0 <= one < size:
            raise ArgumentError(
                f"{where}: index={index} is not in {what} of shape {shape}. Use 0 to "
                f"{size - 1} where there is {one!r}."
            )


def _require_equal(made: GradientExplanation, remedy: str, where: str) -> None:
    """Refuse a sum that differs from autograd's by more than rounding."""
    ours, network = made.value, made.network_value
    if ours == network or (math.isnan(ours) and math.isnan(network)):
        return
    if abs(ours - network) <= made.tolerance:
        return
    raise ExplanationError(
        f"{where}: the gradient of {made.target} at {made.of} {place_text(made.index)} "
        f"is {network!r}, but upstream times local adds up to {ours!r}, and rounding "
        f"explains {made.tolerance:.2g} of the difference. {remedy}"
    )
