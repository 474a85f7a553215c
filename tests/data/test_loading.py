import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convscope.data import describe, load, locate, names
from convscope.data.published.catalog import CATALOG
from convscope.data.published.local_files import cache_folder
from convscope.errors import (
    ArgumentError,
    DataError,
    MissingDataError,
    UnknownNameError,
)
from data.files import write_cifar, write_idx_set


def by_name(data):
    """Every sample of a data set: its name, then pixels, label and part."""
    return {
        name: (part.pixels[i].numpy(), int(part.labels[i]), where)
        for where, part in data.parts.items()
        for i, name in enumerate(part.names)
    }


def test_the_digits_are_those_of_scikit_learn():
    bunch, samples = load_digits(), by_name(load("digits"))
    assert len(samples) == len(bunch.images) == 1797
    for i, (image, label) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        pixels, got, _ = samples[f"digits/{i}"]
        assert got == label
        # 0 to 16 becomes 0 to 255: off by at most half of 1/255
        np.testing.assert_allclose(pixels[0] / 255, image / 16, atol=0.5 / 255)


def test_the_digits_need_neither_files_nor_network(machine):
    data = load("digits")
    assert data.input_shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert list(machine.iterdir()) == []


def test_digits_shares_can_be_chosen():
    data = load("digits", validation=0.0, test=0.5)
    assert len(data.val) == 0
    assert abs(len(data.test) / 1797 - 0.5) < 0.05  # 4 standard deviations: 0.047
    assert data.options == {"validation": 0.0, "test": 0.5}


def test_loading_twice_gives_the_same_bits():
    assert load("digits").fingerprint() == load("digits").fingerprint()


def test_statistics_are_those_of_the_training_part():
    data = load("digits")
    pixels = data.train.pixels.double() / 255
    mean, std = pixels.mean().item(), pixels.std(correction=0).item()
    assert data.preprocessing.mean == pytest.approx([mean], abs=5e-7)  # 6 decimals
    assert data.preprocessing.std == pytest.approx([std], abs=5e-7)


@pytest.mark.parametrize(
    "form", [{"size": 12}, {"channels": 3}, {"bits": 16}, {"size": (10, 14)}]
)
def test_another_form_is_what_the_preprocessing_makes_of_a_file(form, tmp_path):
    plain, data = load("digits"), load("digits", **form)
    assert data.preprocessing.bits == form.get("bits", 8)
    for name, part in data.parts.items():
        assert part.names == plain.parts[name].names  # the parts stay the same
    for i in range(20):
        picture = plain.test.pixels[i, 0].numpy()
        Image.fromarray(picture).save(tmp_path / "digit.png")
        np.testing.assert_array_equal(
            data.test.pixels[i], data.preprocessing.decode(tmp_path / "digit.png")
        )


def test_a_test_image_saved_as_a_file_gives_the_same_input(tmp_path, machine):
    write_idx_set(machine / "data" / "mnist")
    data = load("mnist")
    for i in range(20):
        Image.fromarray(data.test.pixels[i, 0].numpy()).save(tmp_path / "digit.png")
        np.testing.assert_array_equal(
            data.test.pixels[i], data.preprocessing.decode(tmp_path / "digit.png")
        )


@pytest.mark.parametrize(
    ("options", "name"),
    [({"size": 0}, "size"), ({"channels": 2}, "channels"), ({"resize": "x"}, "resize")],
)
def test_a_form_that_is_not_allowed_is_an_argument_error(options, name):
    with pytest.raises(ArgumentError, match=f"^load: {name}=.* is not allowed: "):
        load("digits", **options)


def test_progress_counts_every_image_once():
    seen = []
    load("digits", channels=3, progress=lambda *step: seen.append(step))
    totals = [total for done, total, _ in seen if done == total]
    assert sum(totals) == 1797
    assert {what for _, _, what in seen} == {"resizing digits"}


def folder_of_pictures(path):
    """Two classes of four gray pictures each."""
    for name, level in (("dark", 0), ("light", 200)):
        (path / name).mkdir(parents=True)
        for i in range(4):
            pixels = np.full((16, 16), level + i, dtype=np.uint8)
            Image.fromarray(pixels).save(path / name / f"{i}.png")


@pytest.mark.parametrize(
    "source", ["./mnist", "of/mine", Path("mnist"), "mine"], ids=str
)
def test_a_path_is_a_folder_even_if_named_like_a_set(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of_pictures(tmp_path / source)
    data = load(source, size=12, cache_dir=tmp_path / "cache")
    assert data.classes == ("dark", "light")
    assert data.input_shape == (1, 12, 12)
    assert data.source == str(tmp_path / source)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("folder", ["data/mnist", "data/MNIST/raw", "cache/mnist"])
def test_idx_files_are_found_in_each_place_and_form(machine, folder, suffix):
    train_x, train_y, test_x, test_y = write_idx_set(machine / folder, suffix=suffix)
    samples = by_name(load("mnist"))
    for part, images, labels in (("train", train_x, train_y), ("test", test_x, test_y)):
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            pixels, got, where = samples[f"mnist/{part}/{i}"]
            np.testing.assert_array_equal(pixels[0], image)
            assert got == label
            assert (where == "test") == (part == "test")


def test_idx_files_may_have_a_dot_in_their_name(machine):
    write_idx_set(machine / "data" / "mnist", dotted=True)
    assert len(load("mnist").test) == 20


def test_the_data_folder_goes_before_the_cache(machine):
    write_idx_set(machine / "cache" / "mnist", test=10)
    write_idx_set(machine / "data" / "mnist", test=30)
    assert len(load("mnist").test) == 30


def test_an_incomplete_folder_is_passed_over(machine):
    write_idx_set(machine / "data" / "mnist", test=30)
    (machine / "data" / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    write_idx_set(machine / "cache" / "mnist", test=10)
    assert len(load("mnist").test) == 10


def test_files_lying_flat_are_not_taken_for_the_twin(machine, monkeypatch):
    write_idx_set(machine / "data")
    assert locate(describe("mnist")) is None
    assert locate(describe("fashion-mnist")) is None


def test_real_files_lying_flat_are_told_apart(real_data, machine):
    for name, other in (("mnist", "fashion-mnist"), ("fashion-mnist", "mnist")):
        flat = machine / "data"
        shutil.copytree(real_data / name, flat)
        assert locate(describe(name)).folder == flat
        assert locate(describe(other)) is None
        shutil.rmtree(flat)


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize(
    ("form", "folder"),
    [
        ("python", "data/cifar10/cifar-10-batches-py"),
        ("python3", "data/cifar-10-batches-py"),
        ("python", "data/cifar10"),
        ("python", "data"),
        ("binary", "data/cifar10/cifar-10-batches-bin"),
        ("binary", "cache/cifar10"),
        ("binary", "data"),
    ],
)
def test_cifar_batches_are_found_in_each_place_and_form(machine, form, folder, suffix):
    images, labels = write_cifar(machine / folder, form, suffix=suffix)
    data = load("cifar10")
    samples = by_name(data)
    assert len(data.test) == 20
    for i in range(120):
        pixels, label, _ = samples[
            f"cifar10/train/{i}" if i < 100 else f"cifar10/test/{i - 100}"
        ]
        np.testing.assert_array_equal(pixels, images[i])
        assert label == labels[i]


def test_a_tarball_is_unpacked_into_the_cache(machine, tmp_path):
    images, _ = write_cifar(tmp_path / "cifar-10-batches-py")
    (machine / "data").mkdir()
    with tarfile.open(machine / "data" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    data = load("cifar10")
    np.testing.assert_array_equal(data.test.pixels, images[100:])
    assert locate(describe("cifar10")).folder == (
        machine / "cache" / "cifar10" / "cifar-10-batches-py"
    )


def test_an_archive_is_read_though_the_cache_cannot_be_written(machine, tmp_path):
    images, _ = write_cifar(tmp_path / "cifar-10-batches-py")
    (machine / "data").mkdir()
    with tarfile.open(machine / "data" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    (machine / "cache").write_text("a file where the cache would be")
    data = load("cifar10")
    np.testing.assert_array_equal(data.test.pixels, images[100:])
    (note,) = (note for note in data.notes if "cannot be unpacked into" in note)
    assert note.endswith(
        "Set XDG_CACHE_HOME to a folder that can be written, or pass cache_dir. It is "
        "unpacked each time until then."
    )


def test_files_that_are_not_the_published_ones_are_noted_or_refused(machine):
    write_idx_set(machine / "data" / "mnist")
    notes = load("mnist").notes
    assert len(notes) == 6
    assert notes[5].startswith("The test part has only 20 images: an accuracy near 90%")
    path = machine / "data" / "mnist" / "train-images-idx3-ubyte"
    assert notes[1].startswith(
        f"{path} is not the file that was published for mnist (md5 of its content "
    )
    with pytest.raises(DataError, match="results on it cannot be compared"):
        load("mnist", strict=True)


def test_more_images_than_labels_is_an_error(machine):
    folder = machine / "data" / "mnist"
    write_idx_set(folder)
    shutil.copy(folder / "t10k-labels-idx1-ubyte", folder / "train-labels-idx1-ubyte")
    text = (
        f"{folder}/train-images-idx3-ubyte: holds 40 images, but beside it are 20 "
        "labels. Get the published files."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        load("mnist")


def test_a_damaged_file_is_named(machine):
    folder = machine / "data" / "mnist"
    write_idx_set(folder, suffix=".gz")
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:1000])
    text = f"{path}: the file is cut short. Get it again, or delete it."
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        load("mnist")


def test_a_set_that_is_nowhere_says_what_to_put_where(machine):
    text = f"""load: mnist is not on this machine (looked below {machine}/data and \
{machine}/cache) and CONVSCOPE_OFFLINE is set, so nothing is downloaded. Put these \
files into {machine}/data/mnist or {machine}/cache/mnist:
  train-images-idx3-ubyte.gz  9,912,422 bytes  sha256:440fcabf73cc546fa21475e81ea37026\
5605f56be210a4024d2ca8f203523609
  train-labels-idx1-ubyte.gz  28,881 bytes  sha256:3552534a0a558bbed6aed32b30c495cca23\
d567ec52cac8be1a0730e8010255c
  t10k-images-idx3-ubyte.gz  1,648,877 bytes  sha256:8d422c7b0a1c1c79245a5bcf07fe86e33\
eeafee792b84584aec276f5a2dbc4e6
  t10k-labels-idx1-ubyte.gz  4,542 bytes  sha256:f7ae60f92e00ec6debd23a6088c31dbd2371e\
ca3ffa0defaefb259924204aec6"""
    with pytest.raises(MissingDataError, match=f"^{re.escape(text)}$"):
        load("mnist")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("mnits", "unknown data set or folder 'mnits'. Did you mean 'mnist'?"),
        (
            "zebra",
            "unknown data set or folder 'zebra'. "
            "Known: cifar10, digits, fashion-mnist, mnist.",
        ),
    ],
)
def test_an_unknown_name_gets_a_suggestion(source, text):
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        load(source)


def test_a_published_test_part_is_not_cut_anew(machine):
    text = (
        "load: test=0.2 does not go with 'mnist', whose 10,000 test images are "
        "published. Leave it out."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        load("mnist", test=0.2)


@pytest.mark.parametrize("name", names())
def test_the_catalog_agrees_with_the_published_data(real_data, name):
    card, data = CATALOG[name], load(name, strict=True)
    assert data.input_shape == card.shape
    assert data.classes == card.classes
    assert len(data.train) + len(data.val) == card.train_count - (
        len(data.test) if name == "digits" else 0
    )
    if name != "digits":
        assert len(data.test) == card.test_count
    assert len(data.notes) == 1


@pytest.mark.parametrize(
    ("name", "counts", "mean", "std"),
    [
        (
            "mnist",
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
            [0.1307],
            [0.3081],
        ),
        ("fashion-mnist", [1000] * 10, [0.2860], [0.3530]),
        ("cifar10", [1000] * 10, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    ],
)
def test_published_figures_come_out(real_data, name, counts, mean, std):
    data = load(name, validation=0.0)
    assert np.bincount(data.test.labels).tolist() == counts
    assert data.preprocessing.mean == pytest.approx(mean, abs=1e-4)
    assert data.preprocessing.std == pytest.approx(std, abs=1e-4)


@pytest.mark.slow
def test_the_second_load_of_cifar_is_from_the_cache(real_data, tmp_path):
    first = load("cifar10", cache_dir=tmp_path)
    seen = []
    again = load(
        "cifar10", cache_dir=tmp_path, progress=lambda *step: seen.append(step)
    )
    assert seen == []  # no file was read
    assert again.fingerprint() == first.fingerprint()
    assert again.notes == first.notes


def test_the_cache_can_be_chosen(machine):
    assert cache_folder() == machine / "cache"
    assert cache_folder(machine / "other") == machine / "other"
