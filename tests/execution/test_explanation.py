"""What was chosen is told layer by layer, with what it was chosen against."""

import pytest
import torch
from torch import nn

from convscope import kernels
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
