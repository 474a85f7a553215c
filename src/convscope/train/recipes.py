"""Recipes that come with the package, by the name of the data they are for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convscope.data.batching.augmentation import Augmentation
from convscope.data.dataset import Dataset
from convscope.errors import UnknownNameError
from convscope.models import choose
from convscope.train.recipe import Recipe

SMALL = ("lenet5", "lenet_page", "mlp", "softmax_regression")
# Peak rates of networks that the other recipes' rates drive apart: those without batch
# norm, and the one whose outputs are squared distances. As published where it is 0.01;
# else what the digits bear.
GENTLE = {
    "alexnet_2012": 0.01, "alexnet_2014": 0.01, "all_conv": 0.01, "jarrett": 0.02,
    "lenet5_1998": 0.002, "nielsen": 0.03, "nin": 0.02,
    "vgg11": 0.01, "vgg13": 0.01, "vgg16": 0.01, "vgg19": 0.01,
}  # fmt: skip
STEPS, MOST_EPOCHS = 250, 120  # of small networks, which learn in a moment
FEWEST_STEPS, MOST_STEPS, FEWEST_EPOCHS = 60, 6250, 3  # from weights
LOOKED_AT = 200  # images, to tell drawings from photographs
FLAT = 0.5  # share of pixels equal to their neighbor from which images are drawings
DRAWN = Augmentation(shift=2, rotate=10, scale=0.1, shear=8)

_SMALL = Recipe(
    epochs=12,
    batch_size=64,
    learning_rate=0.05,
    augmentation=Augmentation(shift=1, rotate=8, scale=0.08),
)
_RESIDUAL = Recipe(
    model="resnet9",
    batch_size=256,
    learning_rate=0.4,
    label_smoothing=0.1,
    ema=0.99,
)

RECIPES: dict[str, Recipe] = {
    "digits": Recipe(
        model="resnet9",
        model_options={"width": 12},
        epochs=16,
        batch_size=64,
        learning_rate=0.1,
        augmentation=Augmentation(rotate=10, scale=0.1, shear=8),
    ),
    "mnist": _SMALL.with_changes({"model": "lenet5"}),
    "mnist-best": _RESIDUAL.with_changes(
        {"epochs": 10, "model_options": {"width": 16}, "augmentation": DRAWN}
    ),
    "fashion-mnist": _RESIDUAL.with_changes(
        {"epochs": 10, "model_options": {"width": 16}, "shift": 2, "flip": True}
    ),
    "cifar10": _RESIDUAL.with_changes({"epochs": 9, "shift": 4, "flip": True}),
    "cifar10-94": Recipe(
        model="airbench94",
        epochs=10,
        batch_size=1000,
        learning_rate=1.5,
        bias_rate=64,
        momentum=0.85,
        weight_decay=0.0013,
        warmup=0.23,
        label_smoothing=0.2,
        lookahead=5,
        tta="both",
        augmentation=Augmentation(shift=2, alternate=True),
    ),
    "small": _SMALL,
    "drawings": Recipe(epochs=20, batch_size=64, learning_rate=0.1, augmentation=DRAWN),
    "photos": Recipe(
        epochs=30,
        batch_size=64,
        learning_rate=0.1,
        label_smoothing=0.1,
        augmentation=Augmentation(shift=4, flip=True, brightness=0.2, contrast=0.2),
    ),
    "from-weights": Recipe(
        model="efficientnet_lite0",
        start="imagenet",
        epochs=15,
        batch_size=32,
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=0.05,
        layer_decay=0.8,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        norm_statistics="start",
        ema=0.97,
        augmentation=Augmentation(
            shift=16, scale=0.15, brightness=0.2, contrast=0.2, saturation=0.2
        ),
    ),
}
"""Every recipe that has a name."""


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownNameError: There is none; names the nearest.

    >>> find("cifar10-94").model
    'airbench94'
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]


def read(wanted: str | Path) -> Recipe:
    """The recipe of that name, or in that TOML file.

    Raises:
        UnknownNameError: There is none of that name; names the nearest.
        ArgumentError: The file cannot be read, or holds no recipe.

    >>> read("mnist").model
    'lenet5'
    """
    if Path(wanted).suffix == ".toml" or Path(wanted).is_file():
        return Recipe.from_file(wanted)
    return find(str(wanted))


def from_weights(
    side: int, count: int, changes: Mapping[str, Any] | None = None
) -> Recipe:
    """The recipe that begins with weights, for ``count`` images of ``side`` pixels.

    Few images get more epochs, so that there are ``FEWEST_STEPS``, and many get fewer,
    ``MOST_STEPS``: what the weights know need not be learned again. The average of the
    weights forgets within a third of the steps: a longer one would keep weights of the
    beginning, when the rate is at its peak (60 blood cells: 86 % in place of 97).

    Args:
        side: Of the images, in pixels.
        count: Of the training images.
        changes: Fields that are asked for; they are taken as they are.

    >>> small, large = from_weights(28, 60), from_weights(224, 2000)
    >>> small.augmentation.shift, small.epochs, small.ema
    (2, 60, 0.95)
    >>> large.augmentation.shift, large.epochs, large.ema
    (16, 15, 0.97)
    >>> from_weights(96, 50_000).epochs
    4
    >>> from_weights(224, 200, {"epochs": 2}).ema
    0.75
    """
    changes = dict(changes or {})
    whole = RECIPES["from-weights"]
    shift = whole.augmentation.shift * side // 224
    asked = whole.with_changes({"shift": shift, **changes})
    each = max(count // asked.batch_size, 1)
    if "epochs" not in changes:
        most = max(MOST_STEPS // each, FEWEST_EPOCHS)
        epochs = max(min(asked.epochs, most), -(-FEWEST_STEPS // each))
        asked = asked.with_changes({"epochs": epochs})
    if "ema" not in changes and asked.minutes is None:
        forgets = max(1 - 3 / (asked.epochs * each), 0.0)
        asked = asked.with_changes({"ema": round(min(asked.ema, forgets), 4)})
    return asked


def suited(data: Dataset, model: str | None = None) -> Recipe:
    """The recipe to take when nobody names one, before anything is measured.

    Args:
        data: Its own recipe is taken, if it has one.
        model: If given, the data's own recipe is only taken if it is for this model;
            else one for small networks, for drawings, or for photographs. If not
            given, the recipe is for the model that suits the images.

    >>> from convscope.data import load
    >>> suited(load("digits"), "lenet5").learning_rate
    0.05
    """
    own = RECIPES.get(data.source)
    if own is not None and model in (None, own.model):
        return own
    if model is None:
        model = choose(data.input_shape).name
    if model in SMALL:
        return _fitted(RECIPES["small"], data, 12, STEPS)
    if is_drawn(data):
        recipe = _fitted(RECIPES["drawings"], data, 12)
    else:
        recipe = _fitted(RECIPES["photos"], data, 8)
    if own is not None:  # what its images bear is known
        recipe = recipe.with_changes({"augmentation": own.augmentation})
    if model in GENTLE:
        return recipe.with_changes({"learning_rate": GENTLE[model]})
    return recipe


def _fitted(recipe: Recipe, data: Dataset, part: int, steps: int = 0) -> Recipe:
    """Shifted by no more than a part of the image, with enough steps to learn by."""
    shift = min(recipe.augmentation.shift, min(data.input_shape[1:]) // part)
    each = max(len(data.train) // recipe.batch_size, 1)
    epochs = max(recipe.epochs, min(-(-steps // each), MOST_EPOCHS))
    return recipe.with_changes({"shift": shift, "epochs": epochs})


def is_drawn(data: Dataset) -> bool:
    """Whether images are gray, or flat in color as drawings are and photographs not.

    >>> from convscope.data import load
    >>> is_drawn(load("digits"))
    True
    """
    if data.input_shape[0] == 1:
        return True
    some = data.train.pixels[:: max(len(data.train) // LOOKED_AT, 1)]
    same = (some[..., 1:] == some[..., :-1]).all(1)
    return bool(same.float().mean() > FLAT)
