"""The network as an ONNX program whose outputs are the values of all cards."""

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis.capturing.watching import Watched

MOST_BYTES = 256 * 2**20  # of weights, which the program has once more
_NEEDED = ("onnx", "onnxscript", "onnxruntime")

Array = npt.NDArray[np.float32]


def is_installed() -> bool:
    """Whether all that is needed is there: the extra ``onnx``."""
    return all(find_spec(name) is not None for name in _NEEDED)


class Program:
    """Runs a network in ONNX Runtime; any number of passes at once.

    Args:
        net: Whose weights are copied.
        labels: Of the layers whose values are wanted.
        x: An input, for its shape.

    Raises:
        Exception: Whatever the exporter or ONNX Runtime have against the network.
    """

    def __init__(self, net: nn.Module, labels: Sequence[str], x: Tensor) -> None:
        import onnxruntime

        self.labels = tuple(labels)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self._session = onnxruntime.InferenceSession(
            exported(net, self.labels, x), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, x: Tensor) -> tuple[dict[str, Array], Array]:
        """What each layer gives, and what the network gives, with the batch axis."""
        found: list[Any] = self._session.run(None, {self._input: x.numpy()})
        arrays = [np.asarray(array, np.float32) for array in found]
        return dict(zip(self.labels, arrays, strict=False)), arrays[-1]


def exported(net: nn.Module, labels: Sequence[str], x: Tensor) -> bytes:
    """The ONNX file: one input, a value for each label, the network's output last."""
    with _quietly(), torch.no_grad():
        program = torch.onnx.export(
            _AllValues(net, labels).eval(), (x,), dynamo=True, verbose=False
        )
    if program is None:
        raise ValueError("the network has no form in ONNX")
    return bytes(program.model_proto.SerializeToString())


class _AllValues(nn.Module):
    """Gives the values of layers, and what the network gives."""

    def __init__(self, net: nn.Module, labels: Sequence[str]) -> None:
        super().__init__()
        watched = Watched(net, labels)
        self.root = watched.root  # so that its weights are ours
        self._watched, self._labels = (watched,), tuple(labels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """In the order of the labels."""
        values, output = self._watched[0](x)
        return (*(values[label] for label in self._labels), output)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what the exporter says about itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
