"""Values of a pass kept without copying them, until something writes into them."""

from typing import Any

import torch
from torch import Tensor, nn

from convscope.analysis.tracing.calls import storage_of, written_by


class Enough(BaseException):  # no error: what was wanted is there
    """Ends a forward pass."""


class Holder:
    """Keeps tensors by reference; each is copied before its memory is written into.

    Args:
        most: Bytes to keep; None for any number. Beyond, nothing more is.
    """

    def __init__(self, most: int | None) -> None:
        self.most, self.bytes = most, 0
        self.is_full = self.escaped = False
        self.aliases: dict[int, list[Tensor]] = {}  # by memory

    @property
    def is_whole(self) -> bool:
        """Whether what is kept is all there, as it was."""
        return not self.is_full and not self.escaped

    def hold(self, tensor: Tensor) -> Tensor:
        """A tensor of the same values, which stays as it is."""
        if isinstance(tensor, nn.Parameter):
            return tensor
        if self.is_full:
            return torch.empty(0, device="meta")
        alias, place = tensor.detach(), storage_of(tensor)
        if place not in self.aliases:
            self.aliases[place] = []
            self.bytes += tensor.untyped_storage().nbytes()
        self.aliases[place].append(alias)
        if self.most is not None and self.bytes > self.most:
            self.is_full = True
        return alias

    def before(self, func: Any, args: Any, kwargs: Any) -> None:
        """Copies what an operation is about to write into."""
        schema = func._schema
        if not schema.is_mutable and "batch_norm" not in schema.name:
            return
        for tensor in written_by(schema, args, kwargs):
            for alias in self.aliases.pop(storage_of(tensor), ()):
                alias.data = torch.ops.aten.clone.default(alias)
