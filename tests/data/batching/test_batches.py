import itertools
import re

import numpy as np
import pytest
import torch
from scipy import stats

from convscope.data.batching import keys, mixing
from convscope.data.batching.augmentation import Augmentation
from convscope.data.batching.batches import Batches, plain
from convscope.data.dataset import Samples
from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError

COLOR = Preprocessing(
    channels=3, size=(8, 6), mean=(0.5, 0.25, 0.125), std=(0.5, 0.25, 1.0)
)
AUGMENTATIONS = {
    "none": Augmentation(),
    "shift and flip": Augmentation(shift=2, flip=True),
    "mixup": Augmentation(mixup=0.4, shift=1),
    "cutmix": Augmentation(cutmix=1.0),
    "everything": Augmentation(
        shift=2, flip=True, rotate=20, scale=0.2, shear=10, elastic=1.5,
        brightness=0.3, contrast=0.3, saturation=0.3, cutout=4, mixup=0.4, cutmix=1,
    ),
}  # fmt: skip


def random_samples(count=101, labels=None, dtype=np.uint8):
    generator = np.random.default_rng(0)
    high = np.iinfo(dtype).max + 1
    pixels = generator.integers(0, high, (count, 3, 8, 6)).astype(dtype)
    classes = torch.arange(count) % 4 if labels is None else torch.as_tensor(labels)
    return Samples(torch.from_numpy(pixels), classes, [f"#{i}" for i in range(count)])


SAMPLES = random_samples()


def batches(samples=SAMPLES, **settings):
    return Batches(samples, COLOR, **({"batch_size": 20, "seed": 3} | settings))


def assert_same(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.indices, other.indices)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def by_sample(found):
    """Image and target of each sample that an epoch delivered."""
    return {
        index: (image, target)
        for batch in found
        for index, image, target in zip(
            batch.indices.tolist(), batch.images, batch.targets, strict=True
        )
    }


@pytest.mark.parametrize("count", [1, 19, 20, 21, 22, 101, 120])
def test_every_sample_comes_once_in_an_epoch_of_the_announced_length(count):
    set_of = batches(random_samples(count))
    found = list(set_of.epoch(0))
    assert len(found) == len(set_of)
    assert sorted(torch.cat([b.indices for b in found]).tolist()) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(torch.cat([b.indices for b in batches(seed=s).epoch(e)]).tolist())
        for s in range(3)
        for e in range(3)
    }
    assert len(orders) == 9


def test_without_augmentation_each_image_is_the_normalized_original():
    mean, std = (
        torch.tensor(n).double()[:, None, None] for n in (COLOR.mean, COLOR.std)
    )
    for batch in batches().epoch(0):
        pixels = SAMPLES.pixels[batch.indices].double()
        expected = ((pixels / 255 - mean) / std).float()
        # Three roundings to float32 of numbers up to 1, over a deviation of 0.25.
        torch.testing.assert_close(batch.images, expected, rtol=0, atol=2e-6)
        assert torch.equal(batch.targets, SAMPLES.labels[batch.indices])
        assert batch.images.dtype == torch.float32
        assert len(batch) == len(batch.images)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_sample_looks_the_same_in_batches_of_any_size(name):
    settings = {"augmentation": AUGMENTATIONS[name]}
    expected = by_sample(batches(batch_size=101, **settings).epoch(4))
    for size in (2, 7, 64):
        found = by_sample(batches(batch_size=size, **settings).epoch(4))
        assert found.keys() == expected.keys()
        for index, (image, target) in found.items():
            assert torch.equal(image, expected[index][0])
            assert torch.equal(target, expected[index][1])


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("balanced", [False, True])
def test_an_epoch_goes_on_from_any_batch_to_the_same_bits(name, balanced):
    settings = {"augmentation": AUGMENTATIONS[name], "balanced": balanced}
    whole = list(batches(**settings).epoch(2))
    for start in range(len(whole) + 1):
        assert_same(batches(**settings).epoch(2, start), whole[start:])


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("count", [100, 101, 103, 110])
def test_the_parts_of_all_processes_make_up_the_batch(name, balanced, count):
    samples = random_samples(count)
    settings = {"augmentation": AUGMENTATIONS[name], "balanced": balanced}
    parts = [
        list(batches(samples, world_size=4, rank=r, **settings).epoch(1))
        for r in range(4)
    ]
    alone = list(batches(samples, **settings).epoch(1))
    joined = [part for step in zip(*parts, strict=True) for part in step]
    for field in ("indices", "images", "targets"):
        assert torch.equal(
            torch.cat([getattr(part, field) for part in joined]),
            torch.cat([getattr(batch, field) for batch in alone]),
        )
    sizes = [[len(batch) for batch in part] for part in parts]
    assert all(size == 5 for part in sizes for size in part[:-1])
    assert min(part[-1] for part in sizes) >= 2


@pytest.mark.parametrize(
    ("count", "drop_last", "sizes"),
    [
        (100, False, [20] * 5),
        (101, False, [20] * 4 + [21]),  # one alone would break batch normalization
        (102, False, [20] * 5 + [2]),
        (101, True, [20] * 5),
        (119, True, [20] * 5),
        (7, False, [7]),
        (1, False, [1]),
    ],
)
def test_a_short_last_batch_is_kept_unless_it_is_one_sample(count, drop_last, sizes):
    found = batches(random_samples(count), drop_last=drop_last)
    assert [len(batch) for batch in found.epoch(0)] == sizes


def test_batches_of_one_are_allowed_when_asked_for():
    found = batches(random_samples(3), batch_size=1)
    assert [len(batch) for batch in found.epoch(0)] == [1, 1, 1]


def skewed(count=400):
    """90 % of class 1, the rest of 3 and 4; none of 0 and 2."""
    labels = torch.ones(count, dtype=torch.int64)
    labels[: count // 20] = 3
    labels[count // 20 : count // 10] = 4
    return random_samples(count, labels)


def test_balanced_batches_draw_each_class_that_there_is_evenly():
    samples = skewed()
    set_of = batches(samples, balanced=True)
    found = [b for epoch in range(10) for b in set_of.epoch(epoch)]
    counts = torch.bincount(torch.cat([b.targets for b in found]), minlength=5)
    assert counts[[0, 2]].sum() == 0
    assert counts.sum() == 4000
    assert stats.chisquare(counts[[1, 3, 4]].numpy()).pvalue > 1e-3
    rare = torch.cat([b.indices[b.targets == 3] for b in found])
    assert stats.chisquare(torch.bincount(rare, minlength=20).numpy()).pvalue > 1e-3


def test_a_sample_that_comes_twice_in_an_epoch_is_changed_differently():
    samples = skewed(60)
    set_of = batches(samples, balanced=True, augmentation=Augmentation(elastic=1.0))
    seen = {}
    for batch in set_of.epoch(0):
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            seen.setdefault(index, []).append(image)
    repeated = [images for images in seen.values() if len(images) > 1]
    assert repeated
    for images in repeated:
        for first, other in itertools.pairwise(images):
            assert not torch.equal(first, other)


@pytest.mark.parametrize("balanced", [False, True])
def test_partners_are_drawn_as_the_samples_are(balanced):
    samples = skewed()
    set_of = batches(
        samples, balanced=balanced, augmentation=Augmentation(mixup=1e-9), num_classes=6
    )
    targets = torch.cat([b.targets for e in range(5) for b in set_of.epoch(e)])
    share = targets.mean(0)
    expected = {True: [0, 1 / 3, 0, 1 / 3, 1 / 3, 0], False: [0, 0.9, 0, 0.05, 0.05, 0]}
    torch.testing.assert_close(
        share, torch.tensor(expected[balanced]), rtol=0, atol=0.04
    )


def test_mixup_adds_image_and_label_of_a_partner_from_the_whole_set():
    settings = Augmentation(mixup=0.4)
    originals = by_sample(plain(SAMPLES, COLOR, 50))
    everything = torch.stack([originals[i][0] for i in range(101)])
    for batch in batches(augmentation=settings).epoch(0):
        _, share = mixing.weights(3, 0, batch.indices, (8, 6), mixup=0.4, cutmix=0)
        partner = keys.integers(3, 0, batch.indices, "partner", 1, 101)[:, 0]
        own = everything[batch.indices].double() * share.double()[:, None, None, None]
        rest = everything[partner].double() * (1 - share.double())[:, None, None, None]
        torch.testing.assert_close(
            batch.images, (own + rest).float(), rtol=0, atol=2e-6
        )
        for row, (i, j) in enumerate(zip(batch.indices, partner, strict=True)):
            target = torch.zeros(4)
            target[SAMPLES.labels[i]] += share[row]
            target[SAMPLES.labels[j]] += 1 - share[row]
            assert torch.equal(batch.targets[row], target)


def test_cutmix_labels_are_the_exact_share_of_the_pixels():
    pixels = torch.zeros(64, 3, 8, 6, dtype=torch.uint8)
    labels = torch.arange(64) % 2
    pixels[labels == 1] = 255
    samples = Samples(pixels, labels, [""] * 64)
    zero_one = COLOR.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})
    settings = Augmentation(cutmix=1.0)
    found = Batches(samples, zero_one, batch_size=16, seed=0, augmentation=settings)
    for batch in found.epoch(0):
        white = batch.images[:, 0].sum((1, 2)) / 48
        torch.testing.assert_close(white, batch.targets[:, 1], rtol=0, atol=1e-7)


def test_targets_are_labels_without_mixing_and_shares_with_it():
    hard = next(batches().epoch(0)).targets
    soft = next(
        batches(augmentation=Augmentation(cutmix=1.0), num_classes=7).epoch(0)
    ).targets
    assert (hard.shape, hard.dtype) == ((20,), torch.int64)
    assert (soft.shape, soft.dtype) == ((20, 7), torch.float32)
    torch.testing.assert_close(soft.sum(1), torch.ones(20))


def test_a_memory_map_gives_the_same_as_memory(tmp_path):
    path = tmp_path / "pixels.npy"
    np.save(path, SAMPLES.pixels.numpy())
    mapped = torch.from_numpy(np.load(path, mmap_mode="r+"))
    settings = {"augmentation": AUGMENTATIONS["everything"]}
    on_disk = Samples(mapped, SAMPLES.labels, SAMPLES.names)
    assert_same(batches(on_disk, **settings).epoch(0), batches(**settings).epoch(0))


def test_sixteen_bit_pixels_keep_all_sixteen_bits():
    samples = random_samples(30, dtype=np.uint16)
    wide = COLOR.model_copy(update={"bits": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3})
    for batch in plain(samples, wide, 8):
        expected = samples.pixels.numpy()[batch.indices].astype(np.float64) / 65535
        np.testing.assert_allclose(batch.images, expected, rtol=1e-7)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_channels_last_changes_the_layout_and_not_a_bit(name):
    settings = {"augmentation": AUGMENTATIONS[name]}
    layout = torch.channels_last
    found = list(batches(memory_format=layout, **settings).epoch(0))
    assert all(b.images.is_contiguous(memory_format=layout) for b in found)
    assert_same(found, batches(**settings).epoch(0))


def test_plain_gives_every_sample_in_order_as_it_is():
    found = list(plain(SAMPLES, COLOR, 30))
    assert [len(batch) for batch in found] == [30, 30, 30, 11]
    assert torch.equal(torch.cat([b.indices for b in found]), torch.arange(101))
    trained = by_sample(batches().epoch(0))
    for index, (image, target) in by_sample(found).items():
        assert torch.equal(image, trained[index][0])
        assert target == SAMPLES.labels[index]


def test_plain_takes_no_samples_and_samples_without_labels():
    empty = SAMPLES.subset([])
    assert list(plain(empty, COLOR, 4)) == []
    unlabeled = Samples(SAMPLES.pixels, torch.full((101,), -1), SAMPLES.names)
    (batch,) = plain(unlabeled, COLOR, 200, memory_format=torch.channels_last)
    assert (batch.targets == -1).all()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": 0}, "Batches: batch_size=0 must be at least 1."),
        (
            {"samples": SAMPLES.subset([])},
            "Batches: there are no samples. Train on at least one.",
        ),
        (
            {"rank": 2, "world_size": 2},
            "Batches: rank=2 must be between 0 and world_size - 1 = 1.",
        ),
        (
            {"world_size": 3},
            "Batches: batch_size=20 cannot be shared evenly by world_size=3 "
            "processes. Use 21.",
        ),
        (
            {"batch_size": 128, "drop_last": True},
            "Batches: 101 samples do not fill one batch of 128 for 1 processes. Lower "
            "batch_size, or keep the short last batch.",
        ),
        (
            {"num_classes": 3},
            "Batches: num_classes=3 is too few for label 3. Use 4 or more.",
        ),
        (
            {"samples": random_samples(4, [0, -1, 1, -1]), "balanced": True},
            "Batches: 2 of 4 samples have no label, which balanced, mixup and cutmix "
            "need. Leave them out.",
        ),
        (
            {"augmentation": Augmentation(shift=6)},
            "Augmentation: shift=6 must be below 6, the shorter side of the 8x6 "
            "images. Lower it to 5 or less.",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(settings, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        batches(**settings)


def test_a_start_outside_the_epoch_is_refused_before_the_first_batch():
    text = (
        "Batches: start=6 must be between 0 and 5, the number of batches in an epoch."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        batches().epoch(0, 6)
    with pytest.raises(ArgumentError, match="batch_size=0 must be at least 1"):
        plain(SAMPLES, COLOR, 0)
