import pytest
import torch
from torch import nn

from convscope.errors import ShapeError
from convscope.layers.shape import require_input


def test_a_wrong_channel_count_names_the_layer_and_both_numbers():
    with pytest.raises(ShapeError) as caught:
        require_input(nn.Conv2d(3, 4, 3), torch.zeros(2, 5, 8, 8), 2, 3)
    assert str(caught.value) == (
        "Conv2d: x must have shape (N, 3, H, W) or (3, H, W); got (2, 5, 8, 8), which "
        "has 5 channels. Build the layer for 5 channels, or give it 3."
    )


def test_a_wrong_rank_points_to_the_layer_of_that_rank():
    with pytest.raises(ShapeError) as caught:
        require_input(nn.Conv1d(3, 4, 3), torch.zeros(2, 3, 8, 8, 8), 1, 3)
    assert str(caught.value) == (
        "Conv1d: x must have shape (N, 3, L) or (3, L); got (2, 3, 8, 8, 8), which has "
        "5 axes instead of 3. For 3 spatial axes take the 3d layer."
    )


def test_what_fits_passes_with_and_without_a_batch():
    require_input(nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8), 2, 3)
    require_input(nn.Conv2d(3, 4, 3), torch.zeros(3, 8, 8), 2, 3)
    require_input(nn.MaxPool2d(2), torch.zeros(0, 7, 8, 8), 2, None)


def test_a_batch_can_be_asked_for():
    with pytest.raises(ShapeError, match=r"must have shape \(N, 3, L\); got \(3, 8\)"):
        require_input(nn.Conv1d(3, 4, 3), torch.zeros(3, 8), 1, 3, batched=True)
