"""Numbers that are not finite: where they began, and what is kept."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from convscope.data.batching.batches import plain
from convscope.errors import NotFiniteError
from convscope.execution import choose
from convscope.train import checkpoint as checkpoints
from convscope.train.not_finite import bad_weight, first_fault
from convscope.train.training.checkpointing import is_finite
from convscope.train.training.events import Stopped
from convscope.train.training.fitting import fit

SETTING = choose(nn.Linear(1, 1), device="cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.ReLU(),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.Linear(300, 3),
    )


def images(value=0.5):
    return torch.full((2, 1, 12, 12), value)


class Reciprocal(nn.Module):
    """Divides by what ReLU made 0."""

    def forward(self, x):
        return 1 / torch.relu(x)


class Logarithm(nn.Module):
    """Goes wrong in its own forward, after its layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x):
        return torch.log(self.layer(x) * 0)


def test_a_sound_network_has_no_fault():
    assert bad_weight(network()) is None
    assert first_fault(network(), SETTING, images()) == (
        "every layer's output is finite; the loss itself overflowed"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_are_looked_at_first(value):
    assert first_fault(network(), SETTING, images(value)) == (
        "the images themselves hold a value that is not finite"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("4.weight", "layer '4' (Linear) holds a weight that is not finite"),
        ("0.bias", "layer '0' (Conv2d) holds a bias that is not finite"),
        (
            "2.running_var",
            "layer '2' (BatchNorm2d) holds a running_var that is not finite",
        ),
    ],
)
def test_a_planted_nan_is_named(name, text):
    net = network()
    net.state_dict()[name].view(-1)[1] = float("nan")
    assert bad_weight(net) == text
    assert first_fault(net, SETTING, images()) == text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (
            Reciprocal(),
            "layer '2' (Reciprocal) is the first whose output is not finite",
        ),
        (Logarithm(), "layer '2' (Logarithm) is the first whose output is not finite"),
    ],
)
def test_the_first_layer_with_a_planted_infinity_is_named(layer, text):
    net = network()
    net[2] = layer
    assert first_fault(net, SETTING, images(-1.0)) == text


def test_a_network_that_is_one_layer_is_named():
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))[1]
    net.weight.data[0, 0] = float("nan")
    assert bad_weight(net) == (
        "the network itself (Linear) holds a weight that is not finite"
    )


def test_no_hook_is_left_behind():
    net = network()
    first_fault(net, SETTING, images())
    assert not any(module._forward_hooks for module in net.modules())


def test_a_rate_far_too_high_stops_and_keeps_the_last_good_checkpoint(tiny, tmp_path):
    heard = []
    with pytest.raises(NotFiniteError) as error:
        fit(
            "mlp", tiny, folder=tmp_path / "run", learning_rate=1e6, batch_size=8,
            epochs=30, checkpoint_seconds=0, listeners=[heard.append],
        )  # fmt: skip
    text = str(error.value)
    assert re.fullmatch(
        r"the loss became (inf|nan) at step (\d+) \(epoch \d+, batch \d+\): layer "
        r"'\d' \(Linear\) (is the first whose output|holds a weight that) is not "
        r"finite\. Lower learning_rate=1e\+06, or set clip_norm=1\.",
        text,
    )
    assert heard[-1] == Stopped(text, interrupted=False)
    state, warning = checkpoints.read(tmp_path / "run" / "checkpoint")
    assert warning is None
    assert is_finite(state)
    step = int(re.search(r"step (\d+)", text)[1])
    assert state.values["position"]["step"] in (step - 1, step - 2)


def test_weights_that_the_very_last_step_spoils_are_refused(set_of, tmp_path):
    """No later loss would show them."""
    data = set_of(val=())
    steep = data.preprocessing.model_copy(update={"std": (0.001,)})
    data = data.replace(preprocessing=steep)
    with pytest.raises(NotFiniteError) as error:
        fit(
            "softmax_regression", data, folder=tmp_path / "run", learning_rate=3e38,
            batch_size=48, epochs=1, schedule="constant", listeners=(),
        )  # fmt: skip
    assert str(error.value) == (
        "after step 1, the last of epoch 1, layer '1' (Linear) holds a weight that is "
        "not finite. Lower learning_rate=3e+38, or set clip_norm=1."
    )
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    state, _ = checkpoints.read(tmp_path / "run" / "checkpoint")
    assert state.values["position"]["step"] == 0


def test_a_val_loss_that_is_not_finite_is_explained(tiny):
    class Overflow(nn.Module):
        def forward(self, x):
            return x if self.training else x * float("inf")

    net = nn.Sequential(nn.Flatten(), Overflow(), nn.Linear(144, 3))
    with pytest.raises(NotFiniteError) as error:
        fit(net, tiny, epochs=1, batch_size=48, listeners=())
    assert re.fullmatch(
        r"the val loss became nan at step 1 \(epoch 1, batch 1\): layer '1' "
        r"\(Overflow\) is the first whose output is not finite\. Lower .*",
        str(error.value),
    )


def test_an_image_that_is_not_finite_is_named(set_of):
    data = set_of()
    broken = data.preprocessing.model_copy(update={"mean": (float("nan"),)})
    with pytest.raises(NotFiniteError, match="the images themselves hold a value"):
        fit("mlp", data.replace(preprocessing=broken), listeners=(), epochs=1)
    assert next(plain(data.train, broken, 4)).images.isnan().all()


def test_a_spoiled_checkpoint_is_recognized(tiny):
    state = checkpoints.Checkpoint({"net/weight": torch.tensor([1.0, np.inf])}, {})
    assert not is_finite(state)
    whole = checkpoints.Checkpoint({"net/count": torch.tensor([1])}, {})
    assert is_finite(whole)
