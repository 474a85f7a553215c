"""What a network knows of images before its last layer: numbers for other methods."""

import numpy as np
import torch
from torch import Tensor, nn

from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.errors import ArgumentError
from convscope.execution import Setting
from convscope.train.fastest_setting import judging_setting
from convscope.train.judging.inference import output_batches

# Pixels of the images that go through a network together on a CPU: maps that stay in
# its cache. EfficientNet-Lite0 takes half the time at 224 pixels that it does by 32.
PIXELS_TOGETHER = 2**18
MOST_TOGETHER = 256


def features(
    net: nn.Module,
    images: Tensor | Samples,
    preprocessing: Preprocessing,
    setting: Setting | None = None,
    *,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """What reaches the network's last linear layer, image by image.

    Args:
        net: Ends in a linear layer; its training flags are put back.
        images: Decoded pixels, or the samples that hold them.
        preprocessing: Makes inputs of pixels.
        setting: Where and in which number format; by default where the network is, in
            float32.
        batch_size: Images at a time; changes memory and speed only. By default as many
            as a CPU's cache bears, or 256.
        progress: Called with (images done, images in all, what) after each batch.

    Shape:
        images: (N, C, H, W)
        return: (N, F) float32, F the ``in_features`` of the last layer

    Raises:
        ArgumentError: The network has no linear layer.
        DataError: There are no images.
        ShapeError: The images are not what ``preprocessing`` makes.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> plain = Preprocessing(channels=1, size=(2, 2), mean=(0.0,), std=(1.0,))
    >>> features(net, torch.zeros(5, 1, 2, 2, dtype=torch.uint8), plain).shape
    (5, 3)
    """
    last = last_linear(net)
    shape = (preprocessing.channels, *preprocessing.size)
    place = next((p.device for p in net.parameters()), torch.device("cpu"))
    if batch_size is None:
        on_cpu = (place if setting is None else setting.device).type == "cpu"
        batch_size = _together(preprocessing.size) if on_cpu else MOST_TOGETHER
    if setting is None:
        setting = judging_setting(
            net, shape, device=str(place), precision="float32", images=batch_size
        )
    rows: list[Tensor] = []

    def note(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        rows.append(arguments[0].detach().flatten(1).float().cpu())

    hook = last.register_forward_pre_hook(note)
    try:
        for _ in output_batches(net, images, preprocessing, setting, batch_size):
            if progress is not None:
                progress(sum(map(len, rows)), len(images), "images")
    finally:
        hook.remove()
    return torch.cat(rows).numpy()


def _together(size: tuple[int, int]) -> int:
    return max(1, min(MOST_TOGETHER, PIXELS_TOGETHER // (size[0] * size[1])))


def last_linear(net: nn.Module) -> nn.Linear:
    """The last linear layer of a network, in the order in which it was built.

    Raises:
        ArgumentError: There is none.

    >>> last_linear(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    Linear(in_features=3, out_features=2, bias=True)
    """
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ArgumentError(
            f"features: {type(net).__name__} has no linear layer, so it has no last "
            "features. Take a network that ends in one."
        )
    return layers[-1]
