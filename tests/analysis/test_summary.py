import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from analysis import networks
from convscope.analysis import summary, versus
from convscope.errors import ShapeError, UnknownNameError


def test_the_table_of_lenet5_reads_like_this():
    text = """\
Sequential on 1x32x32
layer                            output  params   %  mult-adds   %   memory  field
"""
    head = str(summary(networks.lenet5(), (1, 32, 32))).splitlines()[:2]
    assert [line.split() for line in head] == [
        line.split() for line in text.splitlines()
    ]


@pytest.mark.parametrize(
    ("net", "size"),
    [
        (networks.lenet5, (1, 32, 32)),
        (lambda: networks.vgg(16), (3, 224, 224)),
        (lambda: networks.resnet50(stride_on_1x1=True), (3, 224, 224)),
        (networks.UNet, (3, 64, 48)),
        (networks.volume, (1, 16, 112, 112)),
        (networks.temporal, (2, 100_000)),
    ],
)
def test_the_table_is_aligned_at_80_columns(net, size):
    with torch.device("meta"):
        record = summary(net(), size)
    lines = str(record).splitlines()
    assert max(map(len, lines)) <= 80
    rules = [i for i, line in enumerate(lines) if line.startswith("---")]
    table = lines[1 : rules[1] + 1]
    edges = [i for i, mark in enumerate(lines[rules[0]]) if mark == " "]
    for line in table:  # no cell crosses from one column into the next
        assert all(line[i : i + 1] in (" ", "") for i in edges), line


def test_depth_hides_what_is_inside():
    with torch.device("meta"):
        record = summary(networks.resnet18(), (3, 64, 64))
    shallow = record.to_text(depth=1).splitlines()
    assert not any(line.startswith("  ") for line in shallow[2:11])
    assert "11,689,512 parameters" in record.to_text(depth=1)


def test_layers_add_up_to_the_totals():
    with torch.device("meta"):
        record = summary(networks.resnet50(stride_on_1x1=True), (3, 224, 224))
    assert sum(row.parameters for row in record.layers) == record.parameters
    assert sum(row.multiply_adds for row in record.layers) == record.multiply_adds
    assert record.buffers == sum(row.buffers for row in record.layers)


def test_a_module_that_is_used_twice_is_counted_once():
    shared = nn.Conv2d(2, 2, 3, padding=1)
    record = summary(nn.Sequential(shared, nn.ReLU(), shared), (2, 8, 8))
    assert record.parameters == 38
    assert [row.parameters for row in record.layers] == [38, 0, 0]
    assert record.multiply_adds == 2 * 36 * 64
    assert record.layers[2].turn == 1


def test_tied_weights_are_counted_once():
    one, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = one.weight
    assert summary(nn.Sequential(one, other), (4,)).parameters == 24


def test_parameters_without_gradient_are_named():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.cut, self.idle = (nn.Linear(3, 3) for _ in range(3))
            self.frozen = nn.Linear(3, 3).requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                y = self.cut(x)
            return self.used(x) + y + self.frozen(x)

    record = summary(Half(), (3,))
    assert record.unreached == ("cut.weight", "cut.bias", "idle.weight", "idle.bias")
    assert record.frozen == ("frozen.weight", "frozen.bias")
    assert record.uncalled == ("idle",)
    assert (record.parameters, record.trainable) == (48, 36)


def test_a_gradient_that_summary_misses_is_none_in_torch():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    net(torch.ones(1, 3)).sum().backward()
    assert summary(net, (3,)).unreached == ()
    assert all(p.grad is not None for p in net.parameters())


def test_windows_that_ignore_input_are_told_from_those_that_ignore_padding():
    net = nn.Sequential(nn.Conv2d(1, 1, 3, 3), nn.Conv2d(1, 1, 3, 2, 1))
    record = summary(net, (1, 7, 7))
    lost, harmless = record.inexact[0], record.inexact[1:]
    assert (lost.path, lost.ignored) == ("0", (1, 1))
    assert lost.sentence.startswith(
        "7x7 with 3x3 and stride 3 does not fit: (7 - 3) / 3 + 1 = 2.33; one row and "
        "column would be ignored"
    )
    assert [i.ignored for i in harmless] == [(0, 0)]


def test_layers_that_look_beyond_the_image_are_named():
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(4)))
    record = summary(net, (1, 5, 9))
    assert record.exceeding == ("2", "3")
    assert record.rows[-1].receptive_field[0].clipped == 5


def test_memory_is_that_of_tensors_alive():
    net = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 5))
    record = summary(net, (10,))
    assert record.inference_bytes == 4 * 200
    assert record.training_bytes == 4 * (10 + 100 + 100 + 5)
    in_place = nn.Sequential(
        nn.Linear(10, 100), nn.ReLU(inplace=True), nn.Linear(100, 5)
    )
    assert summary(in_place, (10,)).inference_bytes == 4 * 110


def test_a_forward_that_needs_values_runs_once_and_says_so():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            x = self.norm(x)
            return self.layer(x) if x.sum().item() > -1 else x

    net = Gated()
    record = summary(net, (4,))
    assert record.multiply_adds == 8
    assert record.notes[0].startswith("forward needs values, so it ran once on zeros")
    assert net.norm.num_batches_tracked == 0


def test_a_network_that_fails_is_explained_as_by_check():
    with pytest.raises(ShapeError, match=r"^check: 0 = Conv2d\(3, 4, 5\) wants"):
        summary(nn.Sequential(nn.Conv2d(3, 4, 5)), (3, 4, 4))


def test_attention_has_products_of_activations_apart():
    record = summary(networks.Patches(width=16, heads=2), (3, 16, 16))
    tokens, width = 16, 16
    assert record.activation_products == 2 * tokens * tokens * width
    weights = tokens * width * (48 + 4 * width + 4 * width) + width * 10
    assert record.multiply_adds == weights


def test_every_form_has_the_same_numbers():
    record = summary(networks.UNet(), (3, 16, 16))
    data = json.loads(json.dumps(record.to_dict()))
    assert data["parameters"] == record.parameters
    assert len(data["rows"]) == len(record.rows)
    assert f"{record.multiply_adds:,}" in record.to_markdown()
    assert len(record.to_csv().splitlines()) == len(record.rows)  # without the network
    assert record._repr_html_().count("<tr>") == len(record.rows)


def test_html_shows_names_as_text():
    net = nn.Sequential()
    net.add_module("<script>", nn.ReLU())
    assert "<script>" not in summary(net, (1,))._repr_html_()


def test_two_networks_stand_side_by_side():
    one = summary(networks.lenet5(), (1, 32, 32), name="one")
    other = summary(networks.UNet(), (3, 16, 16), name="other")
    lines = versus(one, other).splitlines()
    assert lines[0].split() == ["one", "other", "ratio"]
    assert any(line.split()[:2] == ["parameters", "61,706"] for line in lines)


def test_a_layer_that_is_not_there_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'in1'"):
        summary(networks.UNet(), (3, 16, 16)).find("inn1")


def test_vgg16_takes_under_half_a_second_and_50_megabytes():
    code = """
import resource, time, torch
from analysis import networks
from convscope.analysis import summary
with torch.device("meta"):
    net = networks.vgg(16)
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
str(summary(net, (3, 224, 224)))
seconds = time.process_time() - start
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    path = ["-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    result = subprocess.run(
        [sys.executable, *path], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, result.stdout.split())
    assert seconds < 0.5
    assert megabytes < 50
