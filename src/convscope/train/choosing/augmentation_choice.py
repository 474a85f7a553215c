"""Which random changes a training makes to its images when nobody says."""

from convscope.data import Dataset
from convscope.train.choosing.augmentation_probe import Probe, probe
from convscope.train.choosing.mirrored_names import mirrored_classes
from convscope.train.recipe import Recipe

# What goes with each change that is measured.
_TOGETHER = {"rotate": ("rotate", "shear"), "brightness": ("brightness", "contrast")}


def with_measured_augmentation(data: Dataset, recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe with the changes that leave the classes as they are, and why.

    Images are mirrored only where a measurement on them shows that this is harmless,
    and the names of the classes do not speak against it. The other changes that the
    recipe makes stay, unless they are shown to be harmful.

    Args:
        data: Test images are not looked at.
        recipe: The one that suits the data, before anything is measured.

    >>> from convscope.data import load
    >>> from convscope.train import recipes
    >>> digits = load("digits").replace(source="/my/digits")
    >>> made, why = with_measured_augmentation(digits, recipes.find("photos"))
    >>> made.augmentation.flip, made.augmentation.shift
    (False, 4)
    """
    found = probe(data, recipe)
    named = mirrored_classes(data.classes)
    flip = found is not None and not named and found.verdict("flip") == "harmless"
    changes: dict[str, float | bool] = {"flip": flip}
    for change, together in _TOGETHER.items():
        if found is not None and found.verdict(change) == "harmful":
            changes |= dict.fromkeys(together, 0.0)
    return recipe.with_changes(changes), _why(found, named, changes)


def _why(found: Probe | None, named: str, changes: dict[str, float | bool]) -> str:
    """What was found, and what follows from it, in one sentence."""
    if found is None:
        why = named or "there is too little to measure it on"
        return f"augmentation: images are not mirrored: {why}"
    off = [name for name, value in changes.items() if name != "flip" and not value]
    follows = "images are mirrored" if changes["flip"] else "images are not mirrored"
    if named:
        follows += f": {named}"
    if off:
        follows += f"; {' and '.join(off)} off"
    return f"augmentation {found}; so {follows}"
