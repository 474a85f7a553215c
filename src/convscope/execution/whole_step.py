"""Loss and gradients of a network that is one chain, without building a graph."""

from collections.abc import Sequence

from torch import Tensor, nn

from convscope.execution.chain import ChainPlan, plan_chain
from convscope.execution.description import describe, is_watched
from convscope.execution.fusion import is_plain_call
from convscope.execution.setting import Setting
from convscope.kernels import ChainStep


class WholeStep:
    """The gradient of the mean cross-entropy in one native call.

    The network's parameters become views of one tensor; their identity, names and
    values stay.

    Args:
        net: What ``whole_step`` accepts.
        plan: Of its layers.
    """

    def __init__(self, net: nn.Sequential, plan: ChainPlan) -> None:
        self.net, self._layers = net, describe(list(net))
        self._step = ChainStep(plan.stages, list(net.parameters()))
        self._gradients = [(p, p.grad) for p in net.parameters()]
        self._addresses = [p.data_ptr() for p in net.parameters()]

    def serves(self) -> bool:
        """Whether the layers and the places of their weights are what they were.

        A layer that somebody listens to is not: he is not called.
        """
        return (
            is_plain_call()
            and self._addresses == [p.data_ptr() for p in self.net.parameters()]
            and self._layers == describe(list(self.net))
            and not is_watched(self.net)
        )

    def give_back(self) -> None:
        """Ends this: each parameter holds its values by itself again."""
        for parameter, _ in self._gradients:
            parameter.data = parameter.data.clone()
            parameter.grad = None

    def __call__(
        self, images: Tensor, targets: Tensor, label_smoothing: float = 0.0
    ) -> Tensor:
        """The loss; every parameter's ``grad`` is overwritten."""
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        return self._step(images, targets, label_smoothing=label_smoothing)


def whole_step(
    net: nn.Module, setting: Setting, input_shape: Sequence[int]
) -> WholeStep | None:
    """The step of a network that is one chain of stages to logits; else None.

    >>> import torch
    >>> setting = Setting(torch.device("cpu"), "float32", False, kernels=True)
    >>> whole_step(nn.Sequential(nn.BatchNorm2d(1)), setting, (1, 8, 8)) is None
    True
    """
    if "chain" not in setting.kinds or type(net) is not nn.Sequential:
        return None
    plan = plan_chain(describe(list(net)), tuple(input_shape))
    if plan is None or not plan.flat or plan.stages[-1].out_size != (1, 1):
        return None
    if not all(p.requires_grad for p in net.parameters()):
        return None
    return WholeStep(net, plan)
