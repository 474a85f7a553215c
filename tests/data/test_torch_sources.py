import re

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from convscope import fit
from convscope.data import load
from convscope.errors import ArgumentError, DataError

IMAGES = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(60) % 3


class Pets(TensorDataset):
    classes = ["cat", "dog", "emu"]  # noqa: RUF012  as torchvision's have it


def refusal(source):
    with pytest.raises(DataError) as caught:
        load(source)
    return str(caught.value)


def pictures_of(data):
    """What is in all parts, as a set of (label, pixels)."""
    return {
        (int(label), pixels.numpy().tobytes())
        for part in data.parts.values()
        for label, pixels in zip(part.labels, part.pixels, strict=True)
    }


def test_a_pair_is_a_data_set():
    for pair in ((IMAGES, LABELS), (IMAGES.numpy(), LABELS.tolist())):
        data = load(pair, validation=0.2, test=0.2)
        assert [len(part) for part in data.parts.values()] == [36, 12, 12]
        assert data.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "make",
    [
        lambda pets: DataLoader(pets, batch_size=7),
        lambda pets: DataLoader(pets, batch_size=7, shuffle=True),
        lambda pets: pets,
        lambda pets: Subset(pets, range(60)),
    ],
    ids=["loader", "shuffled", "data set", "subset"],
)
def test_a_loader_gives_the_same_data_as_its_tensors(make):
    data = load(make(Pets(IMAGES, LABELS)))
    assert pictures_of(data) == pictures_of(load((IMAGES, LABELS)))
    assert data.classes == ("cat", "dog", "emu")
    assert data.notes[0] == (
        "60 images were taken from the DataLoader in one pass: its batches, order and "
        "random changes are not used again."
    )


def test_it_comes_in_the_size_that_is_asked_for():
    assert load((IMAGES, LABELS), size=16).input_shape == (1, 16, 16)
    with pytest.raises(ArgumentError, match=r"^load: bits=16 is for files; the images"):
        load((IMAGES, LABELS), bits=16)


def test_networks_are_fitted_to_both():
    for source in ((IMAGES, LABELS), DataLoader(Pets(IMAGES, LABELS), batch_size=16)):
        run = fit("softmax_regression", source, epochs=1, listeners=())
        assert run.history


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield IMAGES[0], 1


class Other(TensorDataset):
    def __init__(self, item, count=4):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return self.item


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (Endless(), "the DataLoader has no length, so it may have no end."),
        (Other(object()), "the DataLoader makes no tensors of its items ("),
        (Other(IMAGES[0]), "a batch of the DataLoader is a tensor; it must be a pair"),
        (
            Other({"x": 1}),
            "a batch of the DataLoader is a dict of 'x'; it must be a pair",
        ),
        (Other((1, 2, 3)), "a batch of the DataLoader is a list of 3; it must be a"),
        (
            DataLoader(TensorDataset(IMAGES - 0.5, LABELS)),
            "the DataLoader's images go from -0.49",
        ),
    ],
)
def test_what_cannot_be_taken_says_why(source, told):
    assert refusal(source).startswith(f"load: {told}")


@pytest.mark.parametrize("source", [IMAGES, np.zeros(3), 5, {"x": 1}, (IMAGES,)])
def test_anything_else_is_refused_with_what_is_taken(source):
    text = (
        f"load: source is of type {type(source).__name__}. Give a name, a folder, a "
        "convscope Dataset, a pair (images, labels), or a torch DataLoader or Dataset "
        "of such pairs."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        load(source)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (lambda x, y: ((x, x), y), "a pair of a list of 2 and a tensor"),
        (lambda x, y: ({"left": x, "right": x}, y),
         "a pair of a dict of 'left', 'right' and a tensor"),
        (lambda x, y: {"image": x, "label": y}, "a dict of 'image', 'label'"),
        (lambda x, y: (x, y, y), "a list of 3"),
        (lambda x, y: (x, {"class": y}), "a pair of a tensor and a dict of 'class'"),
    ],
)  # fmt: skip
def test_batches_of_several_inputs_are_refused_by_what_they_hold(item, told):
    class Items(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, index):
            return item(torch.zeros(1, 8, 8), index % 2)

    with pytest.raises(DataError) as caught:
        load(torch.utils.data.DataLoader(Items(), 3))
    assert str(caught.value) == (
        f"load: a batch of the DataLoader is {told}; it must be a pair of images and "
        "labels, one tensor each. Give its data set an item (image, label); a network "
        "of several inputs is trained in a loop of your own, with cs.optimize(net, "
        "example_inputs=...)."
    )
