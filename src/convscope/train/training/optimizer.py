"""SGD and optimizers of torch.optim, set up so that biases and norms do not decay."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convscope.train.recipe import Recipe
from convscope.train.training.sgd import SGD

State = dict[str, Tensor]
Part = SGD | torch.optim.Optimizer


class Optimizer:
    """One or two optimizers over all parameters of a network, as one.

    Args:
        net: Its trainable parameters are what steps change.
        recipe: Names the optimizer, momentum and weight decay.

    >>> net = nn.Linear(1, 1)
    >>> optimizer = Optimizer(net, Recipe(optimizer="adamw"))
    >>> optimizer.set_rate(0.5)
    >>> net(torch.ones(1, 1)).sum().backward()
    >>> before = net.bias.item()
    >>> optimizer.step()
    >>> round(before - net.bias.item(), 3)
    0.5
    """

    def __init__(self, net: nn.Module, recipe: Recipe) -> None:
        named = {n: p for n, p in net.named_parameters() if p.requires_grad}
        decayed = {n: p for n, p in named.items() if p.ndim > 1}
        spared = {n: p for n, p in named.items() if p.ndim <= 1}
        self.flat: dict[str, nn.Parameter] = {}
        self._names: list[list[str]] = []
        self.parts: list[Part] = []
        if recipe.optimizer == "muon":
            # The last layer's rows are classes, not directions: Muon leaves it out.
            last = list(decayed)[-1] if decayed else None
            self.flat = {
                name: nn.Parameter(parameter.data.flatten(1).clone())
                for name, parameter in decayed.items()
                if name != last
            }
            self._views = {name: decayed.pop(name) for name in self.flat}
            if self.flat:
                self._names.append(list(self.flat))
                self.parts.append(
                    torch.optim.Muon(
                        list(self.flat.values()),
                        lr=recipe.learning_rate,
                        momentum=recipe.momentum,
                        nesterov=recipe.nesterov,
                        weight_decay=recipe.weight_decay,
                        adjust_lr_fn="match_rms_adamw",
                    )
                )
        slower = _slower(list(named), recipe.layer_decay)
        groups, names = [], []
        kinds = ((decayed, recipe.weight_decay, 1.0), (spared, 0.0, recipe.bias_rate))
        for some, weight_decay, factor in kinds:
            for level in sorted({slower[name] for name in some}):
                own = {n: p for n, p in some.items() if slower[n] == level}
                names += list(own)
                groups.append(
                    {
                        "params": list(own.values()),
                        "weight_decay": weight_decay,
                        "factor": factor * level,
                    }
                )
        self._names.append(names)
        self.parts.append(self._plain(groups, recipe))

    @staticmethod
    def _plain(groups: list[dict[str, Any]], recipe: Recipe) -> Part:
        if recipe.optimizer == "sgd":
            return SGD(
                groups,
                lr=recipe.learning_rate,
                momentum=recipe.momentum,
                nesterov=recipe.nesterov,
            )
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, foreach=True)

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate; biases and norms get theirs."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group.get("factor", 1.0)

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for part in self.parts:
            part.zero_grad()
        for name in self.flat:
            self._views[name].grad = None

    def step(self) -> None:
        """Changes every parameter by its gradient."""
        for name, flat in self.flat.items():
            gradient = self._views[name].grad
            flat.grad = None if gradient is None else gradient.flatten(1)
        for part in self.parts:
            part.step()
        with torch.no_grad():
            for name, flat in self.flat.items():
                view = self._views[name]
                view.copy_(flat.view(view.shape))

    def state(self) -> State:
        """Every tensor that a later step depends on, by name."""
        tensors: State = {}
        for number, part in enumerate(self.parts):
            for index, values in part.state_dict()["state"].items():
                for key, value in values.items():
                    if value is not None:
                        name = f"{number}/{self._names[number][index]}/{key}"
                        tensors[name] = torch.as_tensor(value)
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what ``state`` gave."""
        for number, part in enumerate(self.parts):
            whole = part.state_dict()
            parameters = [p for group in part.param_groups for p in group["params"]]
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in tensors.items():
                which, rest = name.split("/", 1)
                parameter, key = rest.rsplit("/", 1)
                if int(which) == number:
                    index = self._names[number].index(parameter)
                    state.setdefault(index, {})[key] = _like(value, parameters[index])
            part.load_state_dict({**whole, "state": state})
        with torch.no_grad():  # the flat copies follow the weights just loaded
            for name, flat in self.flat.items():
                flat.copy_(self._views[name].flatten(1))


def _slower(names: list[str], decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by.

    Layers count from the last, which has 1, to the first, which has ``decay`` to the
    power of 9, in ten steps however many there are.
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    last = max(1, len(layers) - 1)
    steps = {layer: 9 - 9 * place // last for place, layer in enumerate(layers)}
    return {name: decay ** steps[name.rpartition(".")[0]] for name in names}


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """``value`` in the memory layout of ``parameter``, where the shapes agree."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
