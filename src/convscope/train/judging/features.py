"""What a network knows of images before its last layer: numbers for other methods."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from convscope.analysis import check
from convscope.data.batching.batches import plain
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, ConvscopeError, DataError, RunError
from convscope.execution import (
    Optimized,
    Setting,
    choose_device,
    images_together,
)
from convscope.train.fastest_setting import judging_setting
from convscope.train.judging.feature_layer import FeatureLayer, last_layer, named_layer
from convscope.train.judging.inference import evaluating, require_form
from convscope.train.not_finite import first_fault


class FeatureReader:
    """Takes features of batches of inputs, all at one place of a network.

    Args:
        net: Any network of one input; its training flags are put back.
        setting: Where and in which number format; by default where the network is.
        layer: The layer whose output is taken; by default what reaches the last
            linear layer is (``last_layer`` has the rule).

    Attributes:
        place: Where features are taken; known once a batch has been read.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> reader = FeatureReader(net)
    >>> reader.read(torch.zeros(5, 1, 2, 2)).shape, str(reader.place)
    (torch.Size([5, 3]), 'what reaches 3')
    """

    def __init__(
        self,
        net: nn.Module,
        setting: Setting | None = None,
        layer: str | FeatureLayer | None = None,
    ) -> None:
        self.net, self.setting = net, setting
        self.place = named_layer(net, layer) if isinstance(layer, str) else layer

    def read(self, inputs: Tensor) -> Tensor:
        """Features of one batch.

        Shape:
            inputs: (N, C, ...)
            return: (N, F) float32, on the CPU

        Raises:
            ArgumentError: The layer is not called, or gives no tensor of floats with
                one row for each input.
            RunError: A feature is NaN or infinite; names the first layer.
            ShapeError: The network does not take such inputs.
        """
        if self.setting is None:
            self.setting = own_setting(self.net, tuple(inputs.shape[1:]))
        x = self.setting.lay_out(inputs.to(self.setting.device, _kind(self.net)))
        try:
            with evaluating(self.net), torch.no_grad():
                if self.place is None:
                    self.place = last_layer(self.net, x[:1])
                with self.place.watched(self.net) as seen:
                    Optimized(self.net, self.setting)(x)
        except ConvscopeError:
            raise
        except Exception:
            check(self.net, tuple(x.shape[1:]))  # says what does not fit, and the fix
            raise
        if "value" not in seen:
            raise ArgumentError(
                f"features: layer={self.place.name!r} is not called by the network. "
                "Name another layer."
            )
        found: Tensor = seen["value"].cpu()
        if len(found) != len(inputs):
            raise ArgumentError(
                f"features: layer={self.place.name!r} gives {len(found)} rows for "
                f"{len(inputs)} images. Name a layer that keeps them apart."
            )
        if not bool(torch.isfinite(found).all()):
            raise RunError(
                "features: a number is not finite: "
                f"{first_fault(self.net, self.setting, x)}. Train it again."
            )
        return found


def _kind(net: nn.Module) -> torch.dtype:
    """The number format of the weights."""
    kinds = (p.dtype for p in net.parameters() if p.is_floating_point())
    return next(kinds, torch.float32)


def own_setting(
    net: nn.Module,
    input_shape: Sequence[int],
    *,
    device: str | None = None,
    optimize: bool = True,
) -> Setting:
    """The fastest setting in float32 for as many images as are taken together.

    Args:
        net: Stays as it is.
        input_shape: Of one input, (C, ...).
        device: Where to run it; by default where it is.
        optimize: Whether anything is measured.

    >>> str(own_setting(nn.Linear(2, 2), (2,), optimize=False))
    'cpu, float32'
    """
    here = next((p.device for p in net.parameters()), torch.device("cpu"))
    where = choose_device(device or str(here))
    return judging_setting(
        net,
        input_shape,
        device=str(where),
        precision="float32",
        optimize=optimize,
        images=images_together(input_shape[1:], where),
    )


def features(
    net: nn.Module,
    images: Tensor | Samples,
    preprocessing: Preprocessing,
    setting: Setting | None = None,
    *,
    layer: str | FeatureLayer | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """What reaches the network's last linear layer, image by image.

    Args:
        net: Its training flags are put back.
        images: Decoded pixels, or the samples that hold them.
        preprocessing: Makes inputs of pixels.
        setting: Where and in which number format; by default where the network is.
        layer: Whose output to take instead, averaged over positions.
        batch_size: Images at a time; changes memory and speed only. By default as many
            as a CPU's cache bears, or 256.
        progress: Called with (images done, images in all, what) after each batch.

    Shape:
        images: (N, C, H, W)
        return: (N, F) float32

    Raises:
        ArgumentError: As ``FeatureReader.read``.
        DataError: There are no images.
        ShapeError: The images are not what ``preprocessing`` makes.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> gray = Preprocessing(channels=1, size=(2, 2), mean=(0.0,), std=(1.0,))
    >>> features(net, torch.zeros(5, 1, 2, 2, dtype=torch.uint8), gray).shape
    (5, 3)
    """
    reader = FeatureReader(net, setting, layer)
    if setting is None:
        setting = own_setting(net, (preprocessing.channels, *preprocessing.size))
    if batch_size is None:
        batch_size = images_together(preprocessing.size, setting.device)
    batches = input_batches(images, preprocessing, batch_size)
    return stacked(reader, batches, len(images), progress)


def input_batches(
    images: Tensor | Samples, preprocessing: Preprocessing, batch_size: int
) -> Iterator[Tensor]:
    """Inputs made of pixels, batch by batch.

    Shape:
        images: (N, C, H, W)
    """
    pixels = images if isinstance(images, Tensor) else images.pixels
    require_form(pixels, preprocessing)
    if isinstance(images, Tensor):
        images = Samples(images, torch.zeros(len(images)), [""] * len(images))
    for batch in plain(images, preprocessing, batch_size):
        yield batch.images


def stacked(
    reader: FeatureReader,
    batches: Iterable[Tensor],
    count: int,
    progress: Progress | None = None,
) -> np.ndarray:
    """Features of every batch, one row for each of ``count`` images.

    Raises:
        DataError: There are no images.

    >>> reader = FeatureReader(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)))
    >>> stacked(reader, [torch.zeros(2, 4), torch.zeros(1, 4)], 3).shape
    (3, 4)
    """
    rows = [reader.read(batch) for batch in told(batches, count, progress)]
    if not rows:
        raise DataError("features: there are no images. Give at least one.")
    return torch.cat(rows).numpy()


def told(
    batches: Iterable[Tensor], count: int, progress: Progress | None
) -> Iterator[Tensor]:
    """The batches, each reported once it has been used."""
    done = 0
    for batch in batches:
        yield batch
        done += len(batch)
        if progress is not None:
            progress(done, count, "features")
