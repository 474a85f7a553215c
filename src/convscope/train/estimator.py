"""``ConvClassifier``: training and prediction behind scikit-learn's interface."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from torch import Tensor, nn

from convscope import models
from convscope.data.arrays import as_tensor
from convscope.data.batching.augmentation import Augmentation
from convscope.data.dataset import UNLABELED, Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.data.resizing import converted
from convscope.errors import ArgumentError
from convscope.train import recipes
from convscope.train.judging.inference import probabilities
from convscope.train.judging.prediction import decode_files
from convscope.train.planning import built_from, new_network
from convscope.train.recipe import Recipe
from convscope.train.starting_weights import Start, find_start
from convscope.train.training.fitting import fit

_Statistics = tuple[tuple[float, ...], tuple[float, ...]]  # mean, std per channel
Kind = Literal["table", "images", "paths"]

FORMS: dict[Kind, str] = {"table": "a table", "images": "images", "paths": "paths"}
ROWS = 4096  # of a table at a time
SIDE = 32  # pixels of files, when nobody says and no weights do
MOVES = ("shift", "scale")  # random changes that no class depends on
TABLE = Recipe(epochs=40, batch_size=32, learning_rate=0.02)


class ConvClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # untyped
    """A convolutional network as a scikit-learn classifier.

    ``X`` may be

    - images, ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)`` with one or three
      channels (last, where both axes could be them); uint8 and uint16 stay what they
      are, other numbers become float32 at their own scale;
    - files, a sequence of N paths, decoded to ``image_size`` and ``channels``;
    - a table of features, ``(N, F)``: each feature is standardized and a row is an
      image of one line, in float32.

    With ``weights``, images are resized and scaled as those weights take them; then
    floating-point images must lie in [0, 1], and images of any size are predicted.

    Args:
        model: Name of a model; ``"auto"`` chooses by size and channels, or takes the
            one that the weights are of; or a network with one output per class, which
            is copied.
        weights: To begin with: ``"imagenet"`` (of the extra ``pretrained``), a weights
            file, for which ``model`` is named too, or a run folder; ``None``: random
            ones, or those that the recipe names.
        freeze: Layers that keep their weights, by name; ``*`` and ``?`` stand for
            others.
        head_only: Fit the last layer by itself, in seconds.
        recipe: How to train: a recipe or its name; by default one that suits the data.
        epochs: Replaces the recipe's.
        batch_size: Replaces the recipe's.
        learning_rate: Replaces the recipe's.
        validation: Fraction set aside to watch, for recipes with ``patience``.
        image_size: Height and width, or one number for both, of files; by default 32.
            With weights of all images, by default as those were trained.
        channels: 1 gray, 3 color; of files only.
        device: As in the recipe; ``None`` leaves it to the recipe.
        random_state: Decides weights, order and augmentation.
        verbose: Whether to show progress.

    Attributes:
        classes_: What ``predict`` chooses from, sorted.
        net_: The trained network.
        preprocessing_: How pixels become inputs.
        history_: One dictionary for each epoch.

    >>> X = np.zeros((20, 12, 12), np.uint8)
    >>> X[10:, :, 6:] = 255  # the right half is bright
    >>> y = ["dark"] * 10 + ["half"] * 10
    >>> ConvClassifier(epochs=8, batch_size=10, random_state=0).fit(X, y).score(X, y)
    1.0
    """

    def __init__(
        self,
        model: str | nn.Module = "auto",
        *,
        weights: str | Path | None = None,
        freeze: str | Sequence[str] = (),
        head_only: bool = False,
        recipe: Recipe | str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation: float = 0.0,
        image_size: int | tuple[int, int] | None = None,
        channels: Literal[1, 3] = 3,
        device: str | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.weights = weights
        self.freeze = freeze
        self.head_only = head_only
        self.recipe = recipe
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation = validation
        self.image_size = image_size
        self.channels = channels
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> "ConvClassifier":  # noqa: N803
        """Train a new network; what was learned before is forgotten.

        Args:
            X: Images, paths or a table, as above.
            y: The class of each: numbers or strings.

        Raises:
            ArgumentError: X is none of the three, y holds fewer than two classes, or
                the weights are not for images like these.
            BadImageError: A file cannot be read.
            DataError: The package that carries the weights is not installed.
            UnknownNameError: No weights, model, recipe or layer has that name.
        """
        self._kind = _kind_of(X)
        X, y = self._checked(X, y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError(
                f"ConvClassifier: y holds 1 class ({str(self.classes_[0])!r}), "
                f"n_samples={len(y)}. Give samples of at least two classes."
            )
        seed, start = self._seed(), self._start()
        pixels = self._learned_pixels(X, start)
        data = self._dataset(pixels, torch.from_numpy(labels.astype(np.int64)), seed)
        net, name = self._network(data, seed, start)
        run = fit(
            net,
            data,
            self._recipe(data, name, seed, start),
            listeners=None if self.verbose else (),
        )
        self.net_, self.history_ = run.net, run.history
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:  # noqa: N803
        """Probability of each class, in the order of ``classes_``.

        Shape:
            return: (N, K)

        Raises:
            ArgumentError: X has another form than in ``fit``.
            BadImageError: A file cannot be read.
        """
        check_is_fitted(self)
        if (kind := _kind_of(X)) != self._kind:
            raise ArgumentError(
                f"ConvClassifier: X holds {FORMS[kind]}, but fit was given "
                f"{FORMS[self._kind]}. Give the same form to both."
            )
        X, _ = self._checked(X)
        if kind == "table":
            return self._of_table(X)
        pixels = self._pixels(X)
        expected, found = self._shape, tuple(pixels.shape[1:])
        if found != expected:
            raise ArgumentError(
                f"ConvClassifier: X holds images of shape (C, H, W) = {found}, but fit "
                f"was given {expected}. Resize them, or fit again."
            )
        if pixels.dtype != self._dtype:
            had, has = (
                str(t).removeprefix("torch.") for t in (self._dtype, pixels.dtype)
            )
            raise ArgumentError(
                f"ConvClassifier: X holds {has} pixels, but fit was given {had}, which "
                "have another scale. Convert them, or fit again."
            )
        p = probabilities(self.net_, pixels, self.preprocessing_)
        return p.double().numpy()

    def predict(self, X: Any) -> npt.NDArray[Any]:  # noqa: N803
        """The most probable class of each image."""
        p = self.predict_proba(X)
        chosen: npt.NDArray[Any] = self.classes_[p.argmax(axis=1)]
        return chosen

    def _checked(self, X: Any, y: Any = None) -> tuple[Any, Any]:  # noqa: N803
        """X as an array or a list of paths, and y with as many entries, if given."""
        if self._kind == "table":
            first = y is not None
            target = {"y": y} if first else {}
            checked = validate_data(self, X, reset=first, dtype=np.float64, **target)
            return checked if first else (checked, None)
        if self._kind == "paths":
            X = [str(path) for path in X]
        else:
            X = check_array(X, dtype=None, allow_nd=True, input_name="X")
        if y is not None:
            check_consistent_length(X, y)
            y = column_or_1d(y, warn=True)
        return X, y

    def _start(self) -> Start | None:
        """The weights to begin with, if there are any."""
        recipe = self._named_recipe()
        own = None if recipe is None else recipe.start
        name = own if self.weights is None else str(self.weights)
        if name is None:
            return None
        if self._kind == "table":
            raise ArgumentError(
                f"ConvClassifier: weights={name!r} are for images, and X is a table. "
                "Give images, or leave the weights out."
            )
        if not isinstance(self.model, nn.Module):
            by_recipe = None if recipe is None else recipe.model
            return find_start(name, by_recipe if self.model == "auto" else self.model)
        built = built_from(self.model)
        if built is None:
            raise ArgumentError(
                f"ConvClassifier: weights={name!r} are for models by name, not for "
                f"{type(self.model).__name__}. Load its weights first, or name a model."
            )
        return find_start(name, built.name)

    def _learned_pixels(self, X: Any, start: Start | None) -> Tensor:  # noqa: N803
        """Pixels of the training samples; what they need in predict is remembered."""
        self._is_resized = start is not None
        if start is not None:
            channels = self.channels if self._kind == "paths" else _planes(X).shape[1]
            declared = start.preprocessing(channels, None)
            if self.image_size is not None:
                declared = declared.model_copy(update={"size": self._size()})
            self.preprocessing_ = declared
            pixels = self._pixels(X)
            self._shape, self._dtype = tuple(pixels.shape[1:]), pixels.dtype
            return pixels
        if self._kind == "table":
            self._mean, spread = X.mean(axis=0), X.std(axis=0)
            self._scale = np.where(spread > 0, spread, 1.0)
            pixels = self._standardized(X).float()
            statistics: _Statistics = ((0.0,), (1.0,))
        else:
            if self._kind == "paths":
                self.preprocessing_ = Preprocessing(
                    channels=self.channels,
                    size=self._size(),
                    mean=(0.0,) * self.channels,
                    std=(1.0,) * self.channels,
                )
            pixels = self._pixels(X)
            statistics = _statistics(pixels)
        self._shape, self._dtype = tuple(pixels.shape[1:]), pixels.dtype
        values = {
            "channels": pixels.shape[1],
            "bits": 16 if pixels.dtype == torch.uint16 else 8,
            "size": tuple(pixels.shape[2:]),
            "mean": statistics[0],
            "std": statistics[1],
        }
        self.preprocessing_ = Preprocessing.model_validate(values)
        return pixels

    def _size(self) -> tuple[int, int]:
        size = SIDE if self.image_size is None else self.image_size
        return (size, size) if isinstance(size, int) else size

    def _pixels(self, X: Any) -> Tensor:  # noqa: N803
        if self._kind == "paths":
            return decode_files(self.preprocessing_, X)
        if not self._is_resized:
            return _planes(X)
        images = _in_bytes(_planes(X))
        unknown = torch.full((len(images),), UNLABELED)
        whole = Samples(images, unknown, [""] * len(images))
        return converted(whole, self.preprocessing_, "X").pixels

    def _standardized(self, X: npt.NDArray[np.float64]) -> Tensor:  # noqa: N803
        return torch.from_numpy((X - self._mean) / self._scale)[:, None, None]

    def _of_table(self, X: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:  # noqa: N803
        # In float64, so that a row gets the same whatever stands beside it.
        net = copy.deepcopy(self.net_).cpu().double().eval()
        with torch.no_grad():
            chunks = (X[i : i + ROWS] for i in range(0, len(X), ROWS))
            outputs = [net(self._standardized(rows)).softmax(1) for rows in chunks]
        return torch.cat(outputs).numpy()

    def _dataset(self, pixels: Tensor, labels: Tensor, seed: int) -> Dataset:
        everything = Samples(pixels, labels, [str(i) for i in range(len(labels))])
        train, watched = everything, everything.subset([])
        if self.validation:
            common = np.bincount(labels.numpy()).min() > 1  # else no two to part
            rows, others = train_test_split(
                np.arange(len(labels)),
                test_size=self.validation,
                random_state=seed,
                stratify=labels.numpy() if common else None,
            )
            train, watched = everything.subset(rows), everything.subset(others)
        return Dataset(
            name="arrays",
            source="",
            classes=tuple(map(str, self.classes_)),
            train=train,
            val=watched,
            test=everything.subset([]),
            preprocessing=self.preprocessing_,
        )

    def _network(
        self, data: Dataset, seed: int, start: Start | None
    ) -> tuple[nn.Module, str]:
        """A new network with the weights of ``seed``, and its name."""
        if isinstance(self.model, nn.Module):
            return copy.deepcopy(self.model), type(self.model).__name__
        if start is not None:
            return new_network(start.model, data, seed, start.options), start.model
        choice = models.Choice(self.model, why="asked for")
        if self.model == "auto":
            choice = models.choose(data.input_shape)
        net = new_network(choice.name, data, seed, choice.options)
        return net, choice.name

    def _named_recipe(self) -> Recipe | None:
        """The recipe asked for, if one is."""
        recipe = self.recipe
        return recipes.find(recipe) if isinstance(recipe, str) else recipe

    def _recipe(
        self, data: Dataset, name: str, seed: int, start: Start | None
    ) -> Recipe:
        """The one asked for; by default without changes that could alter the class."""
        changes = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "device": self.device,
            "seed": seed,
            "start": None if start is None else start.name,
            "head_only": self.head_only or None,
            "freeze": _patterns(self.freeze) or None,
        }
        given = {key: value for key, value in changes.items() if value is not None}
        recipe = self._named_recipe()
        if recipe is None and self._kind == "table":
            recipe = TABLE
        elif recipe is None and start is not None:
            side = min(data.input_shape[1:])
            suited = recipes.from_weights(side, len(data.train), given)
            kept = {name: getattr(suited.augmentation, name) for name in MOVES}
            recipe = suited.model_copy(update={"augmentation": Augmentation(**kept)})
        elif recipe is None:
            suited = recipes.suited(data, name)
            recipe = suited.model_copy(update={"augmentation": Augmentation()})
        return recipe.with_changes(given)

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))


def _kind_of(X: Any) -> Kind:  # noqa: N803
    """Paths, if every entry is one; images, with three or four axes; else a table."""
    several = isinstance(X, Sequence | np.ndarray) and not isinstance(X, str | bytes)
    if several and len(X) and all(isinstance(each, str | Path) for each in X):
        return "paths"
    ndim = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
    return "images" if ndim in (3, 4) else "table"


def _patterns(freeze: str | Sequence[str]) -> tuple[str, ...]:
    return (freeze,) if isinstance(freeze, str) else tuple(freeze)


def _planes(X: npt.NDArray[Any]) -> Tensor:  # noqa: N803
    """Images with channels last, first, or none, as (N, C, H, W)."""
    images = X[..., None] if X.ndim == 3 else X
    if images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    elif images.shape[1] not in (1, 3):
        raise ArgumentError(
            f"ConvClassifier: X with shape {X.shape} has 1 or 3 channels neither last "
            "nor after N; images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or "
            "3 channels."
        )
    if images.dtype not in (np.uint8, np.uint16):
        images = images.astype(np.float32)
    return as_tensor(images)


def _in_bytes(images: Tensor) -> Tensor:
    """Images on the scale of weights that others trained: 8 or 16 bits."""
    if images.dtype in (torch.uint8, torch.uint16):
        return images
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise ArgumentError(
            f"ConvClassifier: X holds numbers from {low:g} to {high:g}; with weights, "
            "floating-point images must lie in [0, 1]. Scale them, or pass uint8."
        )
    return (images * 255).round().to(torch.uint8)


def _statistics(pixels: Tensor) -> _Statistics:
    """Mean and standard deviation of each channel, on the scale that a net sees."""
    top = {torch.uint8: 255.0, torch.uint16: 65535.0}.get(pixels.dtype, 1.0)
    values = pixels.numpy().swapaxes(0, 1).reshape(pixels.shape[1], -1)
    mean = values.mean(axis=1, dtype=np.float64) / top
    std = values.std(axis=1, dtype=np.float64) / top
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())
