"""``optimize``: a network in, the same network faster out."""

from typing import Any, Self

from torch import Tensor, nn

from convscope.execution.rewrite import Copied, rewrite
from convscope.execution.setting import Setting


class Optimized(nn.Module):
    """A network run in a setting: the same parameters, names and hooks.

    Everything that a module keeps is the network's own: what is done to one, such as
    ``train``, ``load_state_dict`` or ``to``, is done to both.
    """

    setting: Setting

    def __init__(self, net: nn.Module, setting: Setting) -> None:
        super().__init__()
        twin: nn.Module = net
        copies: list[Copied] = []
        if setting.kernels:
            twin, copies = rewrite(net, setting.kinds)
        for kept in (
            "_parameters",
            "_buffers",
            "_non_persistent_buffers_set",
            "_modules",
            "_state_dict_hooks",
            "_state_dict_pre_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ):
            self.__dict__[kept] = twin.__dict__[kept]
        # Not as children, which would add to all names.
        self.__dict__["_twin"], self.__dict__["_net"] = twin, net
        self.__dict__["_copies"] = copies
        self.__dict__["setting"] = setting
        self.training = net.training

    def train(self, mode: bool = True) -> Self:
        """As the network's own ``train``."""
        self.__dict__["_net"].train(mode)
        self.__dict__["_twin"].train(mode)
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """What the network gives, in float32."""
        self.training = self.__dict__["_net"].training
        for copy, original in self.__dict__["_copies"]:
            copy.training = original.training
        if images.ndim == 4:
            images = images.contiguous(memory_format=self.setting.memory_format)
        return self.setting.forward(self.__dict__["_twin"], images)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_twin" not in self.__dict__:
                raise
            return getattr(self.__dict__["_twin"], name)

    def extra_repr(self) -> str:
        """The setting."""
        return str(self.setting)
