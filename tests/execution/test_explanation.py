"""What was chosen is told layer by layer, with what it was chosen against."""

import pytest
import torch
from torch import nn

import convscope as cs
from convscope import kernels
from convscope.errors import ArgumentError
from convscope.execution import Setting, explain, explanation, timing_cache
from convscope.execution.explanation import table


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(timing_cache, "_KNOWN", {})
    monkeypatch.setattr(
        timing_cache.platformdirs, "user_cache_path", lambda name: tmp_path / name
    )


def network():
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3),
    )  # fmt: skip


def explained(net, **options):
    return explain(net, (3, 8, 8), batch_size=4, **options)


def test_every_layer_has_its_row_in_order():
    net = network()
    calls = []
    net[1].register_forward_hook(lambda *_: calls.append(1))
    found = explained(net, optimize=False)
    assert [row.name for row in found.layers] == ["0.0", "0.1", "0.2", "1", "2", "3"]
    assert all(row.milliseconds > 0 and row.plain > 0 for row in found.layers)
    assert {row.chosen for row in found.layers} == {"torch"}
    assert not calls


@pytest.mark.skipif(not kernels.available(), reason="no native kernels")
def test_layers_that_are_computed_as_one_have_one_row(monkeypatch):
    setting = Setting(torch.device("cpu"), "float32", True, kernels=True)
    chosen = explanation.Comparison(setting, (), 4, True, "by hand")
    monkeypatch.setattr(explanation, "compare_settings", lambda *_, **__: chosen)
    rows = {row.layers: row.chosen for row in explained(network()).layers}
    assert rows["BatchNorm2d + ReLU"] == "native"
    assert rows["MaxPool2d"] == "native"
    assert rows["Conv2d"] == "torch"


def test_the_text_names_every_setting_and_the_chosen_one():
    found = explained(network())
    text = str(found)
    assert text.startswith(f"setting: {found.choice.setting} (measured)")
    for timing in found.choice.timings:
        assert str(timing.setting) in text
    assert text.count("chosen") == 1


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("conv", "10.50"), ("a long name", "9.00")]
    assert table(("layer", "ms"), rows) == [
        "layer           ms",
        "conv         10.50",
        "a long name   9.00",
    ]


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.left = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(inplace=True))
        self.right = nn.Linear(3, 4)

    def forward(self, a, b):
        return self.left(a).mean(2) + self.right(b)


def volume():
    return nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU(inplace=True), nn.MaxPool3d(2),
        nn.Flatten(), nn.Linear(108, 2),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("net", "shape", "rows"),
    [
        (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(inplace=True)), (2, 9), 2),
        (volume, (1, 8, 8, 8), 6),
        (TwoInputs, [(2, 9), (3,)], 3),
        (lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2)), (3,), 2),
        (lambda: nn.LSTM(4, 3, batch_first=True), (5, 4), 1),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_any_network_can_be_explained(net, shape, rows, training):
    found = explain(net(), shape, training, batch_size=4, seconds=0.05)
    assert len(found.layers) == rows
    assert all(row.milliseconds > 0 for row in found.layers)


def test_inputs_that_no_shape_says_are_given():
    net = nn.Sequential(nn.Embedding(7, 4), nn.Conv1d(5, 2, 3))
    examples = torch.randint(7, (6, 5))
    found = explain(net, example_inputs=examples, seconds=0.05)
    assert [row.name for row in found.layers] == ["1"]


def test_it_shows_itself_in_one_line():
    found = explained(network(), optimize=False)
    text = "<Explanation: cpu, float32 (as asked for); 0 of 6 rows native; print it"
    assert repr(found) == f"{text} for the tables>"


IS_NO_SHAPE = (
    " is no shape. Give integers of at least 1 without the batch, such as (3, 224, "
    "224), or a list of such shapes, one for each input; tensors go into "
    "example_inputs."
)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            torch.zeros(2, 3, 8, 8),
            "input_shape is a tensor of shape (2, 3, 8, 8), where the sizes of one "
            "image are expected, without the batch. Give input_shape=(3, 8, 8), or the "
            "tensor as example_inputs.",
        ),
        ("3,8,8", "input_shape='3,8,8'" + IS_NO_SHAPE),
        (8, "input_shape=8" + IS_NO_SHAPE),
        ((3, 8, 8.5), "input_shape=(3, 8, 8.5)" + IS_NO_SHAPE),
        ((3, 0, 8), "input_shape=(3, 0, 8)" + IS_NO_SHAPE),
        ([torch.zeros(4, 3, 8, 8)], "input_shape of type list" + IS_NO_SHAPE),
    ],
)
def test_what_is_no_shape_is_refused_with_what_is_expected(shape, text):
    for where, call in (("optimize", cs.optimize), ("explain", explain)):
        with pytest.raises(ArgumentError) as caught:
            call(network(), shape)
        assert str(caught.value) == f"{where}: {text}"


def test_what_is_no_network_is_refused():
    with pytest.raises(ArgumentError) as caught:
        cs.optimize(torch.zeros(3), (3, 8, 8))
    text = "optimize: net is of type Tensor. Give a torch.nn.Module."
    assert str(caught.value) == text


def test_a_shape_with_a_batch_is_refused():
    text = (
        r"^explain: input_shape=\(64, 3, 8, 8\) has 4 numbers, but Conv2d takes 3: "
        r"channels and space, without the batch. Give input_shape=\(3, 8, 8\) and "
        r"batch_size=64\.$"
    )
    with pytest.raises(ArgumentError, match=text):
        explain(network(), (64, 3, 8, 8))
