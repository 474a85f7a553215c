"""Recipes that come with the package, by the name of the data they are for."""

from convscope.data.augmentation import Augmentation
from convscope.data.dataset import Dataset
from convscope.errors import UnknownNameError
from convscope.train.recipe import Recipe

DRAWN = Augmentation(shift=2, rotate=10, scale=0.1, shear=8)

RECIPES: dict[str, Recipe] = {
    "digits": Recipe(
        epochs=16,
        batch_size=64,
        learning_rate=0.1,
        label_smoothing=0.1,
        augmentation=Augmentation(rotate=10, scale=0.1, shear=8),
    ),
    "lenet": Recipe(
        epochs=12,
        batch_size=64,
        learning_rate=0.05,
        augmentation=Augmentation(shift=2, rotate=8, scale=0.08),
    ),
    "mnist-best": Recipe(
        epochs=12,
        batch_size=256,
        learning_rate=0.4,
        label_smoothing=0.1,
        ema=0.99,
        augmentation=DRAWN,
    ),
    "fashion-mnist": Recipe(
        epochs=10,
        batch_size=256,
        learning_rate=0.4,
        label_smoothing=0.1,
        ema=0.99,
        augmentation=Augmentation(shift=2, flip=True),
    ),
    "cifar10": Recipe(
        epochs=9,
        batch_size=256,
        learning_rate=0.4,
        label_smoothing=0.1,
        ema=0.99,
        augmentation=Augmentation(shift=4, flip=True),
    ),
    "drawings": Recipe(
        epochs=20,
        batch_size=64,
        learning_rate=0.1,
        label_smoothing=0.1,
        augmentation=DRAWN,
    ),
    "photos": Recipe(
        epochs=30,
        batch_size=64,
        learning_rate=0.1,
        label_smoothing=0.1,
        augmentation=Augmentation(shift=4, flip=True, brightness=0.2, contrast=0.2),
    ),
}


def find(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownNameError: There is none; names the nearest.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    return RECIPES[name]


def suited(data: Dataset, model: str) -> Recipe:
    """The recipe to take when nobody names one.

    A recipe of the data set's own name comes first, unless the model is one of the
    small ones; then one by the kind of images and the model.
    """
    if model in ("lenet5", "lenet_page", "mlp", "softmax_regression"):
        return RECIPES["lenet"]
    if data.source in RECIPES:
        return RECIPES[data.source]
    return RECIPES["drawings" if data.preprocessing.centering != "none" else "photos"]
