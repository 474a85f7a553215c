"""Where in a file a network's weights are, and which of several are meant."""

import re

import pytest
import torch

from convscope.errors import ArgumentError, UnknownNameError
from convscope.models import load_weights
from models.weight_writers import same, small


def below(prefix, state):
    """A dict in a dict for each part of the prefix that ends in a slash."""
    *keys, before = prefix.split("/")
    content = {before + name: tensor for name, tensor in state.items()}
    for key in reversed(keys):
        content = {key: content}
    return content


# As they are found in files: training scripts, Lightning, timm, DDP, FSDP, compile.
PREFIXES = [
    "state_dict/", "model/", "model_state_dict/", "net/", "ema/", "weights/",
    "model_ema/module.", "state_dict/module.", "state_dict/model.", "state_dict/net.",
    "module.", "module.module.", "backbone.", "encoder.", "_orig_mod.",
    "module._orig_mod.", "_orig_mod.module.", "state_dict/model.backbone.",
    "checkpoint/model/", "model._fsdp_wrapped_module.", "resnet18.",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_weights_are_found_below_what_stands_before_their_names(tmp_path, prefix):
    theirs, ours = small(), small()
    content = below(prefix, theirs.state_dict())
    content |= {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    if not prefix.endswith("/"):  # all below one key, as a state dict is
        content = below(prefix, theirs.state_dict())
    torch.save(content, tmp_path / "a.pth")
    loaded = load_weights(ours, tmp_path / "a.pth")
    assert same(ours, theirs)
    wrapped = ["_orig_mod", "_fsdp_wrapped_module", ""]
    parts = [p for p in re.split(r"[./]", prefix) if p and p not in wrapped]
    assert loaded.prefix == "".join(f"{part}." for part in parts)


def test_wrappers_between_the_parts_of_a_name_are_left_out(tmp_path):
    theirs, ours = small(), small()
    state = {
        name.replace("layer2.0.", "layer2.0._orig_mod."): tensor
        for name, tensor in theirs.state_dict().items()
    }
    torch.save(state, tmp_path / "a.pth")
    load_weights(ours, tmp_path / "a.pth")
    assert same(ours, theirs)


def test_a_checkpoint_of_lightning_loads_without_its_losses(tmp_path):
    theirs, ours = small(), small()
    state = below("model.", theirs.state_dict())
    state |= {"criterion.weight": torch.ones(4), "accuracy.total": torch.tensor(3)}
    content = {
        "epoch": 9, "global_step": 120, "pytorch-lightning_version": "2.5.0",
        "state_dict": state, "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}}],
        "lr_schedulers": [], "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "name": "resnet18"},
    }  # fmt: skip
    torch.save(content, tmp_path / "a.ckpt")
    loaded = load_weights(ours, tmp_path / "a.ckpt")
    assert same(ours, theirs)
    assert loaded.prefix == "state_dict.model."
    assert set(loaded.unused) == {
        "state_dict.criterion.weight",
        "state_dict.accuracy.total",
        "callbacks.ModelCheckpoint.best_model_score",
    }
    assert "122 tensors loaded from below state_dict.model\n" in str(loaded)


@pytest.mark.parametrize("copy", ["model_ema", "ema", "state_dict_ema", "teacher"])
def test_the_weights_themselves_go_before_their_average(tmp_path, copy):
    theirs, average, ours = small(), small(), small()
    torch.save({copy: average.state_dict(), "model": theirs.state_dict()},
               tmp_path / "a.pth")  # fmt: skip
    loaded = load_weights(ours, tmp_path / "a.pth")
    assert same(ours, theirs)
    assert f"{copy}.conv1.weight" in loaded.unused
    load_weights(ours, tmp_path / "a.pth", prefix=f"{copy}.")
    assert same(ours, average)


def test_two_networks_in_a_file_are_not_chosen_between_by_chance(tmp_path):
    state = below("left.", small().state_dict()) | below("right.", small().state_dict())
    torch.save(state, tmp_path / "a.pth")
    text = (
        "load_weights: a.pth holds 2 sets of weights that fit, below 'left.', "
        "'right.'. Say which one: cs.models.load_weights(net, 'a.pth', prefix='left.')."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}$"):
        load_weights(small(), tmp_path / "a.pth")


def test_a_prefix_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    torch.save(below("model.", small().state_dict()), tmp_path / "a.pth")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'model\.'\?"):
        load_weights(small(), tmp_path / "a.pth", prefix="modell.")
