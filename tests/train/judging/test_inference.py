import re

import pytest
import torch
from torch import nn

from convscope.data.dataset import Dataset, Samples
from convscope.errors import ArgumentError, DataError, ShapeError, UnknownNameError
from convscope.execution import Setting
from convscope.train.judging.answers import Answers
from convscope.train.judging.inference import (
    choose_part,
    logits,
    probabilities,
    relabel,
)
from train.nets import GRAY, images, small_net


def by_hand(net, pixels, preprocessing):
    """Evaluation mode, one image at a time, in float64."""
    scale = 2**preprocessing.bits - 1
    mean = torch.tensor(preprocessing.mean, dtype=torch.float64)[:, None, None]
    std = torch.tensor(preprocessing.std, dtype=torch.float64)[:, None, None]
    wide = small_net(net[-1].out_features, net[0].in_channels).double().eval()
    wide.load_state_dict(net.state_dict())
    rows = []
    for image in pixels:
        x = (image.to(torch.float64) / scale - mean) / std
        rows.append(wide(x[None])[0].softmax(0))
    return torch.stack(rows).detach()


def test_probabilities_equal_the_network_one_image_at_a_time():
    net, pixels = small_net(), images()
    found = probabilities(net, pixels, GRAY, batch_size=4)
    # Three layers of float32 sums over at most 45 terms of order 1: below 1e-5.
    torch.testing.assert_close(
        found.double(), by_hand(net, pixels, GRAY), rtol=0, atol=1e-5
    )
    assert found.dtype == torch.float32


def test_logits_are_what_the_softmax_is_taken_of():
    net, pixels = small_net(), images()
    found = logits(net, pixels, GRAY, batch_size=4)
    torch.testing.assert_close(found.softmax(1), probabilities(net, pixels, GRAY))
    assert not found.requires_grad


def test_sixteen_bits_are_not_cut():
    fine = GRAY.model_copy(update={"bits": 16})
    net, pixels = small_net(), images(dtype=torch.uint16)
    found = probabilities(net, pixels, fine)
    torch.testing.assert_close(
        found.double(), by_hand(net, pixels, fine), rtol=0, atol=1e-5
    )


def test_an_image_gets_the_same_in_any_batch():
    net, pixels = small_net(), images()
    alone = torch.cat([probabilities(net, image[None], GRAY) for image in pixels])
    for batch_size in (1, 3, 11, 100):
        together = probabilities(net, pixels, GRAY, batch_size=batch_size)
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_training_flags_come_back_as_they_were_also_after_an_error():
    net = small_net().train()
    net[1].eval()  # frozen statistics inside a network that trains
    flags = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    probabilities(net, images(), GRAY)
    with pytest.raises(RuntimeError):
        probabilities(nn.Sequential(net, nn.Linear(7, 7)), images(), GRAY)
    assert [module.training for module in net.modules()] == flags
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_flipping_makes_an_image_and_its_mirror_image_the_same():
    net, pixels = small_net(), images()
    found = probabilities(net, pixels, GRAY, tta="flip")
    mirrored = probabilities(net, pixels.flip(-1), GRAY, tta="flip")
    torch.testing.assert_close(found, mirrored, rtol=0, atol=1e-6)
    plain = [probabilities(net, each, GRAY) for each in (pixels, pixels.flip(-1))]
    torch.testing.assert_close(found, (plain[0] + plain[1]) / 2, rtol=0, atol=1e-6)


def test_shifting_is_the_mean_over_five_places():
    net, pixels = small_net(), images()
    wide = torch.nn.functional.pad(pixels.float(), (1, 1, 1, 1), mode="replicate")
    wide = wide.to(torch.uint8)
    places = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    views = [wide[..., y : y + 12, x : x + 12] for y, x in places]
    expected = torch.stack([probabilities(net, v, GRAY) for v in views]).mean(0)
    found = probabilities(net, pixels, GRAY, tta="shift")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_both_is_the_mean_over_the_places_and_their_mirror_images():
    net, pixels = small_net(), images()
    moved = probabilities(net, pixels, GRAY, tta="shift")
    mirrored = probabilities(net, pixels.flip(-1), GRAY, tta="shift")
    found = probabilities(net, pixels, GRAY, tta="both")
    torch.testing.assert_close(found, (moved + mirrored) / 2, rtol=0, atol=1e-6)


def test_bfloat16_stays_near_and_still_sums_to_one():
    net, pixels = small_net(), images()
    exact = probabilities(net, pixels, GRAY)
    found = probabilities(
        net, pixels, GRAY, Setting(torch.device("cpu"), "bfloat16", False)
    )
    # bfloat16 keeps 8 bits: 4e-3 for each of a few roundings of values of order 1.
    torch.testing.assert_close(found, exact, rtol=0, atol=0.03)
    assert not torch.equal(found, exact)
    torch.testing.assert_close(found.sum(1), torch.ones(11), rtol=0, atol=1e-6)


def test_evaluation_names_the_samples_that_are_wrong():
    net, pixels = small_net(), images()
    best = probabilities(net, pixels, GRAY).argmax(1)
    labels = best.clone()
    labels[3] = (best[3] + 1) % 4
    samples = Samples(pixels, labels, [f"{i}.png" for i in range(11)])
    p = probabilities(net, samples, GRAY).double().numpy()
    found = Answers(samples, p, tuple("abcd")).evaluation()
    assert (found.correct, found.samples) == (10, 11)
    assert [m.name for m in found.mistakes] == ["3.png"]


def dataset(tmp_path, source="", sizes=(3, 1, 2)):
    parts, first = [], 0
    for size in sizes:
        names = [str(i) for i in range(first, first + size)]
        labels = torch.arange(first, first + size) % 2
        parts.append(Samples(images(size), labels, names))
        first += size
    return Dataset("pets", source, ("cat", "dog"), *parts, GRAY)


def test_the_test_part_is_judged_unless_another_is_asked_for(tmp_path):
    data = dataset(tmp_path, source=str(tmp_path))
    samples, part, notes = choose_part(data, None, own=True)
    assert (samples.names, part, notes) == (["4", "5"], "test", ())
    assert choose_part(data, "val", own=True)[0].names == ["3"]
    samples, part, _ = choose_part(data, "all", own=True)
    assert samples.names == list("012345")
    assert samples.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_all_of_a_new_folder_is_judged_if_it_has_no_test_folder(tmp_path):
    data = dataset(tmp_path, source=str(tmp_path))
    samples, part, notes = choose_part(data, None, own=False)
    assert (len(samples), part) == (6, "all")
    assert notes == ("pets is new to this run: all its images are judged.",)
    parted = data.replace(named_parts=("test",))
    assert choose_part(parted, None, own=False)[1:] == ("test", ())
    assert choose_part(dataset(tmp_path), None, own=False)[1:] == ("test", ())


def test_a_part_that_is_not_there_is_said(tmp_path):
    data = dataset(tmp_path, sizes=(3, 1, 0))
    text = (
        "evaluate: the test part of pets holds no images (train 3, val 1, test 0). "
        "Choose another part."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        choose_part(data, None, own=True)
    text = "unknown part 'tset'. Did you mean 'test'?"
    with pytest.raises(UnknownNameError, match=f"^{re.escape(text)}$"):
        choose_part(data, "tset", own=True)


def test_classes_are_matched_by_name():
    samples = Samples(images(4), torch.tensor([0, 1, 2, -1]), list("wxyz"))
    found = relabel(samples, ("dog", "cat", "owl"), ("cat", "dog", "eel", "owl"))
    assert found.labels.tolist() == [1, 0, 3, -1]
    assert found.pixels is samples.pixels


def test_a_class_without_images_need_not_be_known():
    samples = Samples(images(2), torch.tensor([0, 1]), list("wx"))
    found = relabel(samples, ("dog", "cat", "yak"), ("cat", "dog"))
    assert found.labels.tolist() == [1, 0]


def test_labels_the_run_never_saw_are_named():
    samples = Samples(images(3), torch.tensor([0, 1, 2]), list("wxy"))
    text = (
        "evaluate: data holds 'emu', 'yak', which this run never saw; it knows 'cat', "
        "'dog'. Rename or remove those classes, or train on data that holds them."
    )
    with pytest.raises(DataError, match=f"^{re.escape(text)}$"):
        relabel(samples, ("yak", "cat", "emu"), ("cat", "dog"))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            {"batch_size": 0},
            ArgumentError,
            "probabilities: batch_size=0 must be at least 1.",
        ),
        ({"tta": "filp"}, UnknownNameError, "unknown tta 'filp'. Did you mean 'flip'?"),
        (
            {"images": images(0)},
            DataError,
            "probabilities: there are no images. Give at least one.",
        ),
        (
            {"images": images(channels=3, size=11)},
            ShapeError,
            "probabilities: images have channels, height, width and bits "
            "(3, 11, 11, 8), but the preprocessing makes (1, 12, 12, 8). Load them "
            "with the same preprocessing.",
        ),
        (
            {"net": nn.Conv2d(1, 4, 3)},
            ShapeError,
            "probabilities: the network gives shape (11, 4, 10, 10); a classifier "
            "gives (N, classes). End it with a flatten and a linear layer.",
        ),
    ],
)
def test_wrong_input_says_what_to_change(arguments, error, text):
    call = {"net": small_net(), "images": images(), **arguments}
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        probabilities(call.pop("net"), call.pop("images"), GRAY, **call)
