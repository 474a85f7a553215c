"""Values of the same layers again and again: hooks that are set once."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.tracing.calls import (
    Call,
    CallRecorder,
    FunctionMode,
    Labels,
    tensors_of,
)
from convscope.analysis.tracing.meta_copy import meta_copy
from convscope.private_torch import DispatchMode


class Watched:
    """A network whose layers are watched, for many passes in evaluation.

    `capture` copies a network for each pass, so that nothing that its ``forward`` does
    is left behind. Here it is copied once, in about a fifth of the time for each pass:
    for networks whose ``forward`` keeps nothing and draws no random numbers. One pass
    at a time.

    Args:
        net: Any torch.nn.Module that `capture` can look into; weights are shared.
        labels: Of layers and functions, as `capture` names them.

    >>> watched = Watched(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), ["0"])
    >>> values, output = watched(torch.zeros(1, 1, 8, 8))
    >>> values["0"].shape, output.shape
    (torch.Size([1, 2, 6, 6]), torch.Size([1, 72]))
    """

    def __init__(self, net: nn.Module, labels: Iterable[str]) -> None:
        self.root = meta_copy(net, keep_values=True).eval()
        self._recorder = _Recorder(self.root, frozenset(labels))
        paths = dict(self.root.named_modules())
        self._has_functions = any(
            label.partition(":")[0] not in paths for label in self._recorder.wanted
        )

    def __call__(self, x: Tensor) -> tuple[Mapping[str, Tensor], Any]:
        """The first tensor that each layer gives, and what the network gives."""
        recorder = self._recorder
        recorder.restart()
        with ExitStack() as modes, torch.no_grad():
            if self._has_functions:
                modes.enter_context(_Operations(recorder))
                modes.enter_context(FunctionMode(recorder))
            output = self.root(x)
        return recorder.kept, output


class _Recorder(CallRecorder):
    """Copies what the wanted calls give."""

    def __init__(self, root: nn.Module, wanted: frozenset[str]) -> None:
        super().__init__(root)
        self.wanted = wanted
        self.kept: dict[str, Tensor] = {}
        self._paths = [path for path, _ in root.named_modules()]
        self.watch()

    def restart(self) -> None:
        """Forgets the pass before, which may have ended with an error."""
        self.calls.clear()
        self.stack.clear()
        self.turns.clear()
        self.labels = Labels(self._paths)
        self.kept = {}

    def ends(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Copies, so that a layer that works in place changes nothing."""
        if call.label in self.wanted:
            self.kept[call.label] = tensors_of(output)[0].detach().clone()


class _Operations(DispatchMode):
    """Counts operations, so that questions such as ``x.shape`` are no calls."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for call in self.recorder.stack:
            call.operations += 1
        return func(*args, **(kwargs or {}))
