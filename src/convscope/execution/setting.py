"""Where and in which number format a network runs, decided once before it does."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from convscope.errors import ArgumentError

WIDE = 16  # channels from which channels-last and bfloat16 pay on a CPU


@dataclass(frozen=True)
class Setting:
    """Device, number format and memory format of a network's forward pass."""

    device: torch.device
    precision: Literal["float32", "bfloat16"]
    channels_last: bool

    def place(self, net: nn.Module) -> nn.Module:
        """Moves ``net`` to the device, its image kernels to the memory format."""
        net = net.to(self.device)
        return net.to(memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    @property
    def memory_format(self) -> torch.memory_format:
        """What image batches are laid out in."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def forward(self, net: nn.Module, images: Tensor) -> Tensor:
        """Logits (N, K) in float32."""
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"
        ):
            logits: Tensor = net(images)
        return logits.float()

    def __str__(self) -> str:
        layout = ", channels-last" if self.channels_last else ""
        return f"{self.device}, {self.precision}{layout}"


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
        return bool(torch.cpu._is_amx_tile_supported())
    return False


def choose(net: nn.Module, *, device: str = "auto", precision: str = "auto") -> Setting:
    """The setting for this network on this machine.

    With ``precision="auto"``, bfloat16 is taken only where hardware multiplies it
    natively and the network is wide enough for the conversions to pay: every
    convolution has 16 output channels or more. So it is for channels-last.

    Raises:
        ArgumentError: The device is not there.
    """
    where = choose_device(device)
    widths = [
        module.out_channels
        for module in net.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    wide = min(widths, default=0) >= WIDE
    if precision == "auto":
        native = wide and has_native_bfloat16(where)
        precision = "bfloat16" if native else "float32"
    return Setting(where, "bfloat16" if precision == "bfloat16" else "float32", wide)
