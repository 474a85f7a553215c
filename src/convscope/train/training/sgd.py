"""Gradient descent with momentum, for steps of a few hundred microseconds."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from convscope.private_torch import foreach_add, foreach_add_, foreach_mul_

Group = dict[str, Any]


class SGD:
    """`torch.optim.SGD` to the bit, at a fraction of its cost a step.

    torch's checks, hooks and graph breaks take longer than the update of a small
    network, and its first step imports torch's compiler, which takes two seconds. The
    update itself is torch's own operations on lists of tensors.

    Args:
        groups: ``params`` and ``weight_decay`` of each group; other keys are kept.
        lr: Learning rate.
        momentum: Of the gradients' running sum; 0 for none.
        nesterov: Look ahead along that sum.

    >>> weight = nn.Parameter(torch.tensor([1.0]))
    >>> weight.grad = torch.tensor([2.0])
    >>> SGD([{"params": [weight], "weight_decay": 0.0}], lr=0.25).step()
    >>> weight.item()
    0.5
    """

    def __init__(
        self,
        groups: Iterable[Group],
        *,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.param_groups = [{**group, "lr": lr} for group in groups]
        self.momentum, self.nesterov = momentum, nesterov
        self._parameters: list[nn.Parameter] = [
            parameter for group in self.param_groups for parameter in group["params"]
        ]
        self._velocity: dict[int, Tensor] = {}  # by place among the parameters

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Changes every parameter that has a gradient."""
        start = 0
        for group in self.param_groups:
            places = [
                start + place
                for place, parameter in enumerate(group["params"])
                if parameter.grad is not None
            ]
            start += len(group["params"])
            if places:
                self._update(places, group["lr"], group["weight_decay"])

    def _update(self, places: list[int], rate: float, decay: float) -> None:
        parameters: list[Tensor] = [self._parameters[place] for place in places]
        gradients = [self._parameters[place].grad for place in places]
        steps: Any = gradients
        if decay:
            steps = foreach_add(steps, parameters, alpha=decay)
        if self.momentum:
            new = [p for p in places if p not in self._velocity]
            known = not new
            for place, step in zip(places, steps, strict=True):
                if place in new:
                    self._velocity[place] = step.clone()
                elif not known:  # some have one, some do not: one by one
                    self._velocity[place].mul_(self.momentum).add_(step)
            velocity = [self._velocity[place] for place in places]
            if known:
                foreach_mul_(velocity, self.momentum)
                foreach_add_(velocity, steps)
            if self.nesterov:
                steps = foreach_add(steps, velocity, alpha=self.momentum)
            else:
                steps = velocity
        foreach_add_(parameters, steps, alpha=-rate)

    def state_dict(self) -> dict[str, Any]:
        """What later steps depend on, in the form of torch's optimizers."""
        return {
            "state": {
                place: {"momentum_buffer": tensor}
                for place, tensor in self._velocity.items()
            }
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what ``state_dict`` gave."""
        self._velocity = {
            place: values["momentum_buffer"].clone()
            for place, values in state["state"].items()
        }
