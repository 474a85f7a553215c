"""The real forward, once, where it is cheap: does it do what the trace says?

``difference(module, traced)``   what is different, as text; or a `LayerError`
"""

from torch import nn
from torch.nn.parameter import is_lazy

from convscope.analysis.tracing.calls import Call
from convscope.analysis.tracing.trace import LayerError, Trace, trace

CHEAP = 20_000_000  # products of a batch: some milliseconds
LIGHT = 20_000_000  # parameters
_OF_TORCH = (RuntimeError, IndexError, NotImplementedError)
_OF_VALUES = ("long", "int", "indices", "dtype", "scalar type")  # zeros do not suit it


def difference(
    module: nn.Module, traced: Trace, training: bool = False
) -> str | LayerError | None:
    """Runs the network on zeros with copies of its state, and compares all shapes.

    Returns:
        None where both agree, or where a run is not cheap or not possible; a sentence
        where shapes differ; the error where torch refuses what the trace accepted.
    """
    if traced.with_values or not _is_cheap(module, traced):
        return None
    try:
        real = trace(module, traced.inputs, training=training, values=True)
    except LayerError as error:
        says = str(error.cause).lower()
        of_values = type(error.cause).__name__.endswith(
            "LinAlgError"
        )  # zeros have no inverse
        if of_values or any(word in says for word in _OF_VALUES):
            return None
        return error if isinstance(error.cause, _OF_TORCH) else None
    for expected, found in zip(_modules(traced), _modules(real), strict=False):
        if expected.outputs != found.outputs:
            where = expected.path or expected.name or type(module).__name__
            return (
                f"a real forward gives {found.outputs} in {where}, where "
                f"{expected.outputs} was expected"
            )
    return None


def _modules(traced: Trace) -> list[Call]:
    """Calls of modules; a function such as ``x.to(device)`` may do nothing."""
    return [call for call in traced.calls if call.module is not None]


def _is_cheap(module: nn.Module, traced: Trace) -> bool:
    whole = traced.calls[0]
    products = whole.multiply_adds + whole.activation_products + whole.constant_products
    tensors = [*module.parameters(), *module.buffers()]
    if any(is_lazy(t) or t.device.type != "cpu" for t in tensors):
        return False
    return products <= CHEAP and sum(t.numel() for t in tensors) <= LIGHT
