import numpy as np
import pytest
import torch
from scipy import stats

from convscope.data.batching import mixing

SAMPLES = torch.arange(4000)
SIZE = (12, 9)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_shares_have_scipys_beta_distribution(alpha):
    weight, share = mixing.weights(0, 0, SAMPLES, SIZE, mixup=alpha, cutmix=0)
    assert weight.shape == (4000, 1, 1, 1)
    assert torch.equal(weight.flatten(), share)
    assert stats.kstest(share.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_cutmix_shares_are_exactly_the_area_that_is_left():
    weight, share = mixing.weights(0, 0, SAMPLES, SIZE, mixup=0, cutmix=1.0)
    assert set(weight.unique().tolist()) == {0.0, 1.0}
    for one, part in zip(weight.numpy(), share.numpy(), strict=True):
        assert part == np.float32(int(one.sum())) / np.float32(12 * 9)


def test_what_cutmix_removes_is_one_rectangle():
    weight, _ = mixing.weights(0, 0, SAMPLES[:500], SIZE, mixup=0, cutmix=1.0)
    for image in (weight[:, 0] == 0).numpy():
        rows, columns = np.nonzero(image)
        if len(rows):
            span = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert span == len(rows)


def test_with_both_on_half_of_the_samples_get_each():
    weight, share = mixing.weights(0, 0, SAMPLES, SIZE, mixup=0.3, cutmix=1.0)
    flat = weight.flatten(1)
    mean = flat.mean(1)
    torch.testing.assert_close(mean, share, rtol=0, atol=1e-6)
    blended = (flat == flat[:, :1]).all(1) & (flat[:, 0] > 0) & (flat[:, 0] < 1)
    assert stats.binomtest(int(blended.sum()), 4000, 0.5).pvalue > 1e-3


@pytest.mark.parametrize("side", [0, 1, 4, 5])
def test_a_box_holds_the_pixels_that_plain_loops_put_in_it(side):
    rows = torch.arange(12).repeat_interleave(9)
    columns = torch.arange(9).repeat(12)
    sides = torch.full_like(rows, side)
    found = mixing.box(SIZE, rows, columns, sides, sides)
    for row, column, got in zip(rows.tolist(), columns.tolist(), found, strict=True):
        expected = np.zeros(SIZE, dtype=bool)
        for y in range(row - side // 2, row - side // 2 + side):
            for x in range(column - side // 2, column - side // 2 + side):
                if 0 <= y < 12 and 0 <= x < 9:
                    expected[y, x] = True
        np.testing.assert_array_equal(got, expected)


def test_soft_targets_give_each_class_its_share():
    found = mixing.soft_targets(
        torch.tensor([0, 2]), torch.tensor([1, 2]), torch.tensor([0.75, 0.25]), 4
    )
    assert found.tolist() == [[0.75, 0.25, 0, 0], [0, 0, 1, 0]]
    assert found.dtype == torch.float32
