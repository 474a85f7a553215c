"""Slow weights that follow the fast ones, and now and then pull them back."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from convscope.private_torch import foreach_copy_, foreach_lerp_

_DECAY = 0.95  # a step, at the end of training


class Lookahead:
    """Every few steps, slow and fast weights meet in between.

    With ``a = 0.95 ** every * progress ** 3``, the slow weights become ``a * slow +
    (1 - a) * fast`` and the fast ones a copy of them: nothing at first, an average over
    some dozen steps at the end. Buffers, as of batch norm, take part.

    Args:
        net: Whose trainable weights are the fast ones.
        every: Steps between two meetings.

    Source:
        Zhang et al., arXiv:1907.08610, with the growing average of Jordan,
        arXiv:2404.00498; there ``a`` is constant.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(net.weight)
    >>> slow = Lookahead(net, every=5)
    >>> _ = nn.init.ones_(net.weight)
    >>> slow.finish()
    >>> net.weight.item()
    0.0
    """

    def __init__(self, net: nn.Module, every: int) -> None:
        self.every = every
        self._fast = {
            name: tensor
            for name, tensor in net.state_dict(keep_vars=True).items()
            if tensor.is_floating_point()
        }
        self.slow = {name: t.detach().clone() for name, t in self._fast.items()}

    @torch.no_grad()
    def after(self, step: int, progress: float) -> None:
        """Called with the steps done and the part of training done, 0 to 1."""
        if step % self.every:
            return
        self._meet(_DECAY**self.every * progress**3)

    @torch.no_grad()
    def finish(self) -> None:
        """Leaves the network with the slow weights."""
        self._meet(1.0)

    def _meet(self, keep: float) -> None:
        slow, fast = list(self.slow.values()), list(self._fast.values())
        foreach_lerp_(slow, fast, 1 - keep)
        foreach_copy_(fast, slow)

    def load(self, slow: Mapping[str, Tensor]) -> None:
        """Puts back what ``slow`` was."""
        for name, tensor in self.slow.items():
            tensor.copy_(slow[name])
