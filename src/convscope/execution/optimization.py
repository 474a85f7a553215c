"""``cs.optimize``: a network in, the same network faster out."""

from collections.abc import Sequence

from torch import nn

from convscope.execution.choice import batch_and_image, choose
from convscope.execution.optimized import Optimized


def optimize(
    net: nn.Module,
    input_size: Sequence[int],
    training: bool = True,
    *,
    batch_size: int | None = None,
    device: str = "cpu",
    precision: str = "auto",
) -> Optimized:
    """The same network, run in the setting that is fastest for it here.

    Parameters, buffers, hooks and their names are those of ``net``, which stays usable;
    its weights are moved to the device and memory format that were chosen. Outputs are
    float32. Layers that nothing is known about run as they are.

    Args:
        net: A network for images of ``input_size``.
        input_size: (C, H, W) of one image, or (N, C, H, W) of a batch.
        training: Whether it is to be trained; else only forward passes are measured.
        batch_size: Images in a step; by default 128, or N.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``float32`` or ``bfloat16``; see ``choose``.

    Raises:
        ArgumentError: The device is not there.

    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> fast = optimize(net, (1, 8, 8), batch_size=2)
    >>> list(fast.state_dict()) == list(net.state_dict())
    True
    """
    batch_size, input_shape = batch_and_image(input_size, batch_size)
    setting = choose(
        net,
        input_shape,
        device=device,
        precision=precision,
        batch_size=batch_size,
        training=training,
    )
    return Optimized(setting.place(net), setting)
