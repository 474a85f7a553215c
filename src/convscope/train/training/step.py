"""One step of training: forward, backward, and one change of the weights."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from convscope.execution import WholeStep
from convscope.train.classification import Heads


class ChangesWeights(Protocol):
    """What a step asks of an optimizer."""

    def zero_grad(self) -> None:
        """Forgets the gradients of the step before."""

    def step(self) -> object:
        """Changes the weights by their gradients."""


class TrainingStep:
    """What each step does, wherever a network is trained.

    A step is ``loss``, then ``update``; between the two somebody may look at the loss.

    Args:
        net: Its parameters get gradients.
        call: Gives ``net``'s outputs for images, by whatever way is fastest.
        optimizer: Over the parameters of ``net``.
        whole: Does forward and backward in one, where it can.
        label_smoothing: Probability given to the other classes.
        class_weights: What each class counts in the loss; by default all the same.
        clip_norm: Largest norm of the gradient; by default it is not clipped.
        heads: Which outputs are for the classes, where there are several.

    Shape:
        class_weights: (K,)

    >>> net = nn.Linear(2, 3)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> step = TrainingStep(net, net, optimizer)
    >>> losses = []
    >>> for _ in range(2):
    ...     loss = step.loss(torch.ones(4, 2), torch.zeros(4, dtype=torch.long))
    ...     step.update(loss)
    ...     losses.append(loss.item())
    >>> losses[1] < losses[0]
    True
    """

    def __init__(
        self,
        net: nn.Module,
        call: Callable[[Tensor], Any],
        optimizer: ChangesWeights,
        *,
        whole: WholeStep | None = None,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
        clip_norm: float | None = None,
        heads: Heads | None = None,
    ) -> None:
        self.net, self.call, self.optimizer = net, call, optimizer
        self.label_smoothing, self.clip_norm = label_smoothing, clip_norm
        self.class_weights, self.heads = class_weights, heads or Heads()
        self._whole = whole if class_weights is None else None

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss; gradients follow with ``update``, or are there already.

        Shape:
            images: (N, C, H, W)
            targets: (N,) int64, or (N, K) probabilities
            return: ()
        """
        if self._whole is not None and self._whole.serves():
            return self._whole(images, targets, self.label_smoothing)
        self.optimizer.zero_grad()
        out = self.call(images)
        return self.heads.loss(out, targets, self.class_weights, self.label_smoothing)

    def backward(self, loss: Tensor) -> None:
        """Makes sure that every parameter has its gradient of ``loss``."""
        if loss.requires_grad:
            loss.backward()

    def update(self, loss: Tensor) -> None:
        """Changes the weights by the gradients of ``loss``."""
        self.backward(loss)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip_norm)
        self.optimizer.step()


def key_generators(seed: int, step: int, device: torch.device) -> None:
    """Keys torch's generators, from which dropout draws, by the step.

    Only those of devices that are used: ``torch.manual_seed`` would also note for every
    kind of device that is not here what to do if it comes, a stack trace each, kept for
    good.

    >>> key_generators(0, 5, torch.device("cpu"))
    >>> first = torch.rand(1)
    >>> key_generators(0, 5, torch.device("cpu"))
    >>> bool(torch.rand(1) == first)
    True
    """
    key = seed * 1_000_003 + step
    torch.default_generator.manual_seed(key)
    if device.type == "cuda":
        torch.cuda.manual_seed(key)
    elif device.type == "mps":
        torch.mps.manual_seed(key)
