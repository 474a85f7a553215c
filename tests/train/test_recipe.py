"""A recipe is data: frozen, validated, TOML in and out."""

import re

import pytest
from pydantic import ValidationError

from convscope.data.batching.augmentation import Augmentation
from convscope.errors import ArgumentError, UnknownNameError
from convscope.train.recipe import Recipe
from convscope.train.recipes import RECIPES, find


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_survives_toml(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_a_file_may_leave_out_what_is_default(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\n[augmentation]\nflip = true\n")
    wanted = Recipe(epochs=3, augmentation=Augmentation(flip=True))
    assert Recipe.from_file(path) == wanted


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().epochs = 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epocs": 3}, "unknown recipe key 'epocs'. Did you mean 'epochs'?"),
        ({"filp": True}, "unknown recipe key 'filp'. Did you mean 'flip'?"),
        (
            {"augmentation": {"filp": True}},
            "unknown recipe key 'filp'. Did you mean 'flip'?",
        ),
    ],
)
def test_a_misspelled_key_gets_a_suggestion(changes, text):
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        Recipe().with_changes(changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 0}, "recipe: epochs=0 must be greater than or equal to 1."),
        ({"epochs": "many"}, "recipe: epochs='many' must be a valid integer,"),
        ({"momentum": 1.0}, "recipe: momentum=1.0 must be less than 1."),
        ({"optimizer": "sdg"}, "recipe: optimizer='sdg' must be 'sgd', 'adamw' or "),
        ({"cutout": -1}, "recipe: augmentation.cutout=-1 must be greater than or "),
    ],
)
def test_a_value_out_of_range_is_named(changes, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}"):
        Recipe().with_changes(changes)


def test_augmentation_may_be_changed_by_its_fields_names():
    changed = Recipe(augmentation=Augmentation(shift=2)).with_changes({"flip": True})
    assert changed.augmentation == Augmentation(shift=2, flip=True)


def test_text_that_is_not_toml_is_refused():
    with pytest.raises(ArgumentError, match=r"^recipe: not valid TOML: "):
        Recipe.from_toml("epochs == 3")


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ArgumentError, match=f"^recipe: cannot read {path}: "):
        Recipe.from_file(path)


def test_an_unknown_recipe_gets_a_suggestion():
    text = "unknown recipe 'cifar-10'. Did you mean 'cifar10'?"
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        find("cifar-10")


def test_every_field_has_a_one_line_help():
    for fields in (Recipe.model_fields, Augmentation.model_fields):
        for name, field in fields.items():
            assert field.description, name
            assert "\n" not in field.description
