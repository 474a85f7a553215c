"""Where, in which number format and in which memory format a network runs."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError
from convscope.execution.fusion import Kind
from convscope.private_torch import has_matrix_unit

DEVICES = ("cpu", "cuda", "mps")


@dataclass(frozen=True)
class Setting:
    """Device, number format, memory format and kernels of a network's forward pass."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    kernels: bool = False  # neighbouring layers are computed by our own operations

    def place(self, net: nn.Module) -> nn.Module:
        """Moves ``net`` to the device, its image kernels to the memory format."""
        net = net.to(self.device)
        return net.to(memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    @property
    def memory_format(self) -> torch.memory_format:
        """What image batches are laid out in."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def lay_out(self, x: Any) -> Any:
        """A batch of images in this memory format; anything else as it is."""
        if isinstance(x, Tensor) and x.ndim == 4 and x.is_floating_point():
            return x.contiguous(memory_format=self.memory_format)
        return x

    def autocast(self) -> AbstractContextManager[object]:
        """The context that gives the setting's precision; an outer autocast stays."""
        where = self.device.type
        if self.precision == "float32" or torch.is_autocast_enabled(where):
            return nullcontext()
        return torch.autocast(where, torch.bfloat16)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is computed by kernels, of that which they do in this layout."""
        if not self.kernels:
            return ()
        if not self.channels_last:
            return ("chain",)
        half: tuple[Kind, ...] = ("conv",) if self.precision == "bfloat16" else ()
        return ("norm", "pool", "gelu", *half)

    def to_dict(self) -> dict[str, str | bool]:
        """Words and flags that JSON can hold."""
        return {**asdict(self), "device": str(self.device)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Setting":
        """What ``to_dict`` gave.

        Raises:
            ArgumentError: The device is not there.
            TypeError: A key is missing, or unknown.
        """
        return cls(**{**values, "device": choose_device(str(values["device"]))})

    def __str__(self) -> str:
        layout = ", channels-last" if self.channels_last else ""
        kernels = ", native kernels" if self.kernels else ""
        return f"{self.device}, {self.precision}{layout}{kernels}"


def give_back(net: nn.Module) -> None:
    """Puts weights that ``Setting.place`` laid out otherwise in torch's usual order.

    >>> net = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    >>> give_back(net)
    >>> net.weight.is_contiguous()
    True
    """
    for tensor in (*net.parameters(), *net.buffers()):
        if not tensor.is_contiguous():
            tensor.data = tensor.data.contiguous()


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        ArgumentError: No such device on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = torch.backends.mps.is_available()
        return torch.device("mps" if mps else "cpu")
    if name.partition(":")[0] not in DEVICES:
        raise ArgumentError(
            f"device={name!r} is not one of auto, {', '.join(DEVICES)}. Take 'auto', "
            "which uses a GPU where there is one, or 'cpu'."
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ArgumentError(
            f"device={name!r} is not available on this machine. Use 'auto' or 'cpu'."
        ) from None
    return device


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 matrices itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return has_matrix_unit()
    return False
