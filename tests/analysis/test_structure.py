"""The network as a graph, beside torch.fx and beside what is published."""

import itertools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import convscope as cs
from convscope.analysis.structure import Block, network_graph

NETWORKS = {
    "lenet5": (1, 32, 32), "resnet18": (3, 64, 64), "resnet20": (3, 32, 32),
    "unet": (1, 32, 32), "mobilenet_v2": (3, 64, 64), "nin": (3, 32, 32),
    "vgg11_bn": (3, 32, 32), "resnet9": (3, 32, 32),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_counts_add_up_and_sources_stand_before_what_takes_them(name):
    net = cs.models.build(name)
    graph = network_graph(net, NETWORKS[name])
    found = cs.summary(net, NETWORKS[name])
    assert sum(node.parameters for node in graph.nodes) == found.parameters
    assert sum(node.multiply_adds for node in graph.nodes) == found.multiply_adds
    seen = set()
    for node in graph.nodes:
        assert set(node.sources) <= seen
        assert node.sources or node.family == "input"
        seen.add(node.label)
    assert graph.blocks().nodes == graph.nodes
    assert len(graph.outputs) == 1


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "mobilenet_v2", "vgg11_bn"])
def test_modules_are_connected_as_torch_fx_connects_them(name):
    net = cs.models.build(name).eval()
    graph = network_graph(net, NETWORKS[name])
    ours = [(set(_modules_before(graph, node)), node.path)
            for node in graph.nodes if _is_module(net, node)]  # fmt: skip
    traced = _Leaves().trace(net)
    theirs = [(set(_fx_before(node)), node.target)
              for node in traced.nodes if node.op == "call_module"]  # fmt: skip
    assert ours == theirs


class _Leaves(torch.fx.Tracer):
    """Takes every module without modules in it as one."""

    def is_leaf_module(self, module, path):
        return not any(True for _ in module.children())


def _is_module(net, node):
    functions = node.family in ("add", "concatenate") or node.label.endswith("_1")
    return node.family != "input" and not functions


def _modules_before(graph, node):
    for label in node.sources:
        source = graph[label]
        if source.family == "input":
            yield "input"
        elif source.family in ("add", "concatenate") or label.endswith("_1"):
            yield from _modules_before(graph, source)
        else:
            yield source.path


def _fx_before(node):
    for source in node.all_input_nodes:
        if source.op == "placeholder":
            yield "input"
        elif source.op == "call_module":
            yield source.target
        else:
            yield from _fx_before(source)


@pytest.mark.parametrize(
    ("name", "family", "count"),
    [("resnet50", "add", 16), ("resnet20", "add", 9), ("unet", "concatenate", 4),
     ("mobilenet_v2", "add", 10)],
)  # fmt: skip
def test_branches_meet_as_often_as_the_papers_say(name, family, count):
    net = cs.models.build(name)
    size = (1, 32, 32) if name == "unet" else (3, 64, 64)
    nodes = network_graph(net, size).nodes
    met = [node for node in nodes if node.family == family]
    assert len(met) == count
    assert all(len(node.sources) == 2 for node in met)


class Odd(nn.Module):
    """Functions, reuse, two outputs, something in place, a branch that is dropped."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.drop = nn.Dropout()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        first = self.act(self.conv(x))
        second = self.drop(F.max_pool2d(self.conv(first), 2))
        left, right = second.chunk(2, dim=1)
        return {"sum": left + right, "both": torch.cat([left, right], 1)}


def test_own_networks_of_functions_reuse_and_several_outputs():
    graph = network_graph(Odd(), (2, 8, 8))
    sources = {node.label: node.sources for node in graph.nodes}
    assert sources["conv"] == ("input",)
    assert sources["act"] == ("conv",)
    assert sources["conv:2"] == ("act",)
    assert sources["max_pool2d_1"] == ("conv:2",)
    assert sources["drop"] == ("max_pool2d_1",)
    assert sources["add_1"] == ("chunk_1",)
    assert sources["cat_1"] == ("chunk_1",)
    assert graph.outputs == ("add_1", "cat_1")
    assert graph["conv:2"].parameters == 0  # counted once


@pytest.mark.parametrize(
    ("net", "size"),
    [
        (nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.Flatten()), (1, 9)),
        (nn.Sequential(nn.Conv3d(1, 2, 3), nn.MaxPool3d(2)), (1, 8, 8, 8)),
    ],
)
def test_chains_of_any_dimension(net, size):
    graph = network_graph(net, size)
    labels = [node.label for node in graph.nodes]
    assert graph.edges == tuple(itertools.pairwise(labels))


def test_several_inputs_keep_apart():
    class Two(nn.Module):
        def forward(self, a, b):
            return torch.relu(a) * b

    graph = network_graph(Two(), [(3, 4), (3, 4)])
    assert graph["mul_1"].sources == ("input_2", "relu_1")


def test_equal_blocks_in_a_row_are_one():
    graph = network_graph(cs.models.build("resnet50"), (3, 64, 64))
    kinds = [
        part.kind
        for stage in graph.blocks().parts
        if isinstance(stage, Block)
        for part in stage.parts
        if isinstance(part, Block)
    ]
    repeated = [kind for kind in kinds if kind != "Bottleneck"]
    assert repeated == ["3 x Bottleneck", "5 x Bottleneck"]


def test_the_record_is_json():
    graph = network_graph(cs.models.build("resnet20"), (3, 32, 32))
    found = json.loads(json.dumps(graph.to_dict()))
    assert len(found["nodes"]) == len(graph.nodes)
    assert found["nodes"][1] == graph.nodes[1].to_dict()
