"""Loss and gradients of a network that is one chain, without building a graph."""

from collections.abc import Sequence

from torch import Tensor, nn

from convscope.execution.chains import plan_chain, plan_stages
from convscope.execution.runs import is_watched
from convscope.execution.setting import Setting
from convscope.kernels import ChainStep


class WholeStep:
    """The gradient of the mean cross-entropy in one native call.

    The network's parameters become views of one tensor; their identity, names and
    values stay.

    Args:
        net: What ``one_chain`` accepts.
        input_shape: (C, H, W) of one image.
    """

    def __init__(self, net: nn.Sequential, input_shape: Sequence[int]) -> None:
        self.net = net
        stages = plan_stages(list(net), tuple(input_shape))
        self._step = ChainStep(stages, list(net.parameters()))
        self._gradients = [(p, p.grad) for p in net.parameters()]
        self._addresses = [p.data_ptr() for p in net.parameters()]

    def serves(self) -> bool:
        """Whether nobody listens to a layer, and weights lie where they lay."""
        return (
            self._addresses == [p.data_ptr() for p in self.net.parameters()]
            and not is_watched(self.net)
            and not any(map(is_watched, self.net))
        )

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
    chain = plan_chain(list(net), tuple(input_shape))
    if (
        chain is None
        or not chain.flat
        or not all(p.requires_grad for p in net.parameters())
    ):
        return None
    if plan_stages(list(net), tuple(input_shape))[-1].out_size != (1, 1):
        return None
    return WholeStep(net, input_shape)
