"""Whether images are mirrored is measured on them, and said."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from convscope.data import load
from convscope.data.dataset import Dataset, Samples
from convscope.data.preprocessing import Preprocessing
from convscope.train import recipes
from convscope.train.choosing.augmentation_probe import probe
from convscope.train.choosing.mirrored_names import mirrored_classes
from convscope.train.planning import plan
from convscope.train.run import Run
from convscope.train.training.fitting import fit, resume

PHOTOS = recipes.find("photos")


def arrow(rng, angle, size=24):
    """An arrow somewhere near the middle, white on dark or the other way round."""
    ground, ink = (int(v) for v in rng.permutation((rng.integers(100), 255)))
    side = 4 * size
    picture = Image.new("L", (side, side), ground)
    turn = math.radians(angle + rng.uniform(-8, 8))
    length, width = rng.uniform(0.25, 0.4) * side, rng.uniform(0.03, 0.06) * side
    x, y = rng.uniform(0.42, 0.58, 2) * side
    outline = [(-1, -1), (0.3, -1), (0.3, -3), (1, 0), (0.3, 3), (0.3, 1), (-1, 1)]
    points = [
        (
            x + a * length * math.cos(turn) - b * width * math.sin(turn),
            y + a * length * math.sin(turn) + b * width * math.cos(turn),
        )
        for a, b in outline
    ]
    ImageDraw.Draw(picture).polygon(points, fill=ink)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))


def letter(rng, which, size=24):
    picture = Image.new("L", (size, size), int(rng.integers(80)))
    font = ImageFont.load_default(size=rng.uniform(0.6, 0.9) * size)
    place = tuple(size / 2 + rng.uniform(-2, 2, 2))
    ink = int(rng.integers(150, 256))
    ImageDraw.Draw(picture).text(place, which, font=font, anchor="mm", fill=ink)
    return np.asarray(picture)


def blob(rng, wide, size=24):
    """Textured spots, wide or tall: what is in them has no side."""
    rows, columns = np.mgrid[:size, :size] - rng.uniform(9, 15, 2)[:, None, None]
    across, down = (3, 8) if wide else (8, 3)
    spot = np.exp(-((rows / across) ** 2) - (columns / down) ** 2)
    noise = rng.normal(0, 20, (size, size))
    return np.clip(200 * spot + 40 + noise, 0, 255).astype(np.uint8)


def drawn(draw, classes, names=None, count=60, seed=0):
    """A data set of ``count`` pictures of each class, as a folder would give it."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(classes)), count)
    pictures = np.stack([draw(rng, classes[label]) for label in labels])[:, None]

    def part(rows):
        return Samples(
            torch.from_numpy(pictures[rows]),
            torch.from_numpy(labels[rows]),
            [f"{row}" for row in range(len(labels))[rows]],
        )

    cut = len(labels) * 7 // 10
    preprocessing = Preprocessing(channels=1, size=pictures.shape[2:], mean=(0.5,),
                                  std=(0.25,))  # fmt: skip
    return Dataset(
        name="made",
        source="",
        classes=tuple(names or map(str, classes)),
        train=part(slice(0, cut)),
        val=part(slice(cut, cut + cut // 7)),
        test=part(slice(cut + cut // 7, None)),
        preprocessing=preprocessing.with_statistics(torch.from_numpy(pictures)),
    )


ARROWS = drawn(arrow, (180, 0), ("one", "other"))


def test_arrows_that_are_called_nothing_in_particular_are_not_mirrored():
    found = probe(ARROWS, PHOTOS)
    (flip, brightness) = found.findings
    assert (flip.verdict, brightness.verdict) == ("harmful", "harmless")
    assert "is then taken for" in flip.reason
    made = plan(ARROWS)
    assert not made.recipe.augmentation.flip
    assert "so images are not mirrored" in made.data.notes[-1]


def test_left_and_right_arrows_are_learned():
    run = fit(None, ARROWS, listeners=())
    assert run.evaluate().accuracy > 0.95


@pytest.mark.parametrize("letters", ["bd", "pq", "sz", "52", "Jr"])
def test_letters_and_digits_whatever_they_are_called_are_not_mirrored(letters):
    data = drawn(letter, letters, ("one", "other"), count=40)
    assert probe(data, PHOTOS).verdict("flip") == "harmful"


def test_one_pair_of_many_classes_is_enough():
    """Four symmetric letters; only b and d are each other's mirror images."""
    data = drawn(letter, "AHTXbd", "123456", count=40)
    found = probe(data, PHOTOS)
    assert found.verdict("flip") == "harmful"
    assert "'5' is then taken for '6'" in str(found)


def test_what_has_no_side_is_mirrored():
    data = drawn(blob, (True, False), ("wide", "tall"))
    made = plan(data)
    assert made.recipe.augmentation.flip
    assert made.data.notes[-1].endswith("so images are mirrored")


def stripes(rng, angle, size=24):
    """A texture that leans, anywhere and of any width."""
    turn = math.radians(angle + rng.uniform(-10, 10))
    rows, columns = np.mgrid[:size, :size]
    along = columns * math.cos(turn) + rows * math.sin(turn)
    waves = np.sin(2 * np.pi * along / rng.uniform(4, 8) + rng.uniform(0, 6.3))
    noise = rng.normal(0, 25, (size, size))
    return np.clip(127 + 70 * waves + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("angles", "verdict"), [((45, 135), "harmful"), ((0, 90), "harmless")]
)
def test_textures_are_mirrored_unless_the_way_they_lean_is_the_class(angles, verdict):
    data = drawn(stripes, angles, ("one", "other"), seed=11)
    assert probe(data, PHOTOS).verdict("flip") == verdict


def test_a_tilt_that_is_the_class_is_not_rotated_away():
    data = drawn(arrow, (-12, 12), ("up", "down"), count=80)
    tilted = PHOTOS.with_changes({"rotate": 20, "shear": 8})
    from convscope.train.choosing.augmentation_choice import with_measured_augmentation

    assert probe(data, tilted).verdict("rotate") == "harmful"
    made, why = with_measured_augmentation(data, tilted)
    assert (made.augmentation.rotate, made.augmentation.shear) == (0, 0)
    assert why.endswith("rotate and shear off")


def test_brightness_that_is_the_class_is_left_as_it_is():
    def shade(rng, level):
        return np.clip(rng.normal(level, 6, (16, 16)), 0, 255).astype(np.uint8)

    data = drawn(shade, (90, 120, 150), ("day", "dusk", "night"))
    made = probe(data, PHOTOS.with_changes({"brightness": 0.3}))
    assert made.verdict("brightness") == "harmful"


def test_where_nothing_can_be_learned_nothing_is_mirrored():
    def noise(rng, _):
        return rng.integers(0, 256, (16, 16), dtype=np.uint8)

    data = drawn(noise, (0, 1), ("cat", "dog"))
    assert probe(data, PHOTOS).verdict("flip") == "unknown"
    assert not plan(data).recipe.augmentation.flip


def test_few_images_and_short_trainings_are_not_measured_and_not_mirrored():
    few = drawn(arrow, (180, 0), ("one", "other"), count=15)
    for data, changes in ((few, {}), (ARROWS, {"epochs": 1})):
        assert probe(data, PHOTOS.with_changes(changes)) is None
        made = plan(data, **changes)
        assert not made.recipe.augmentation.flip
        assert "too little to measure" in made.data.notes[-1]


@pytest.mark.parametrize("flip", [True, False])
def test_what_is_asked_for_is_done_and_not_measured(flip):
    made = plan(ARROWS, flip=flip)
    assert made.recipe.augmentation.flip is flip
    assert made.data.notes == ()


def test_a_recipe_that_is_named_is_taken_as_it_is():
    made = plan(ARROWS, "resnet9", "photos")
    assert made.recipe.augmentation == PHOTOS.augmentation
    assert made.data.notes == ()


def test_the_same_seed_finds_the_same():
    first, second = (probe(ARROWS, PHOTOS) for _ in range(2))
    assert first.findings == second.findings


def test_torch_s_random_numbers_are_left_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    probe(ARROWS, PHOTOS)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_run_goes_on_with_what_was_chosen(tmp_path, monkeypatch):
    def stop(event):
        if type(event).__name__ == "EpochEnded":
            raise KeyboardInterrupt

    data = drawn(blob, (True, False), ("wide", "tall"))
    with pytest.raises(KeyboardInterrupt):
        fit("mlp", data, folder=tmp_path / "run", listeners=[stop], epochs=20)
    monkeypatch.setattr("convscope.train.choosing.augmentation_choice.probe", None)
    assert resume(tmp_path / "run", data=data, listeners=()).spec.recipe == (
        Run.load(tmp_path / "run").spec.recipe
    )
    assert Run.load(tmp_path / "run").spec.recipe.augmentation.flip


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["left", "right"], "'left' and 'right' are mirror images of each other"),
        (["b", "d"], "'b' and 'd' are mirror images of each other"),
        (["p", "q", "x y"], "'p' and 'q' are mirror images of each other"),
        (["East", "west"], "'East' and 'west' are mirror images of each other"),
        (["38 Keep right", "39_KeepLeft"], "'38 Keep right' and '39_KeepLeft' are "
         "mirror images of each other"),
        (["arrow-L", "arrow-R"], "'arrow-L' and 'arrow-R' are mirror images of each "
         "other"),
        (["links", "rechts"], "'links' and 'rechts' are mirror images of each other"),
        (["turn left", "stop"], "'turn left' names a side"),
        (["a", "c", "x"], "the classes are letters"),
        (["cat", "dog"], ""),
        (["class1", "class2"], ""),
        (["copyright", "leftovers", "bright"], ""),
        (["0", "1", "2"], ""),  # numbers may stand for anything
    ],
)  # fmt: skip
def test_names_of_mirror_images_are_known(names, reason):
    assert mirrored_classes(names) == reason


def test_names_decide_where_the_images_do_not():
    data = drawn(blob, (True, False), ("left", "right"))
    made = plan(data)
    assert not made.recipe.augmentation.flip
    reason = "'left' and 'right' are mirror images of each other"
    assert made.data.notes[-1].endswith(f"so images are not mirrored: {reason}")


def saved(data, place, count):
    """The training images as a folder, ``count`` of each class."""
    for label, name in enumerate(data.classes):
        (place / name).mkdir(parents=True)
        for row in (data.train.labels == label).nonzero()[:count, 0].tolist():
            pixels = data.train.pixels[row].numpy()
            shown = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
            Image.fromarray(np.ascontiguousarray(shown)).save(
                place / name / f"{row}.png"
            )
    return place


@pytest.mark.slow
def test_digits_in_a_folder_are_learned(pictures, tmp_path):
    folder = saved(load("digits"), tmp_path / "numbers", 1000)
    run = fit(None, folder, listeners=(), epochs=12)
    assert not run.spec.recipe.augmentation.flip
    assert run.spec.recipe.augmentation.rotate
    assert run.evaluate().accuracy >= 0.97


DATA = Path(os.environ.get("CONVSCOPE_DATA", "nowhere"))


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="no CIFAR-10 here")
def test_photographs_in_a_folder_are_mirrored(pictures, tmp_path):
    folder = saved(load("cifar10"), tmp_path / "photos", 150)
    made = plan(folder, "resnet9")
    assert made.recipe.augmentation.flip
    assert made.recipe.augmentation.brightness == 0.2
    assert made.data.notes[-1].endswith("so images are mirrored")
