"""The picture of a network as a graph."""

import itertools
import random
import re

import pytest

import convscope as cs
from convscope.analysis import network_graph
from convscope.errors import ArgumentError
from convscope.viz.structure_rows import level_of, rails_of, takers


@pytest.mark.parametrize("seed", range(50))
def test_rails_carry_every_edge_and_never_lie_over_one_another(seed):
    draw = random.Random(seed)
    count = draw.randint(2, 12)
    pairs = list(itertools.combinations(range(count), 2))
    edges = draw.sample(pairs, draw.randint(0, len(pairs)))
    found = rails_of(count, edges)
    carried = {(row, row + 1) for row, flows in enumerate(found.flows) if flows}
    carried |= {(rail.start, stop) for rail in found.rails for stop in rail.stops}
    assert carried == set(edges)
    for one, other in itertools.combinations(found.rails, 2):
        apart = one.end < other.start or other.end < one.start
        assert apart or one.lane != other.lane


def _graph(name="resnet20", size=(3, 32, 32)):
    return network_graph(cs.models.build(name), size)


def test_a_block_says_what_comes_from_outside():
    graph = _graph()
    block = next(p for p in graph.blocks().parts if p.kind == "3 x BasicBlock")
    level = level_of(block, takers(graph.nodes))
    assert level.sources == ("relu",)
    assert not level.leaves


def test_the_page_has_every_layer_once_and_asks_for_nothing():
    graph = _graph()
    page = cs.viz.structure(graph).html()
    assert "<script" not in page
    assert "http" not in page
    for node in graph.nodes:
        assert len(re.findall(rf"name>{re.escape(node.label)}<", page)) == 1


@pytest.mark.parametrize("suffix", ["html", "svg", "png", "pdf"])
def test_every_format_is_written_and_the_same_again(tmp_path, suffix):
    diagram = cs.viz.structure(_graph(), theme="dark")
    first = diagram.save(tmp_path / f"a.{suffix}").read_bytes()
    begins = {"html": b"<!doct", "svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert first.startswith(begins[suffix])
    assert diagram.save(tmp_path / f"b.{suffix}").read_bytes() == first


def test_depth_opens_blocks_and_large_networks_begin_closed():
    graph = _graph("resnet50", (3, 64, 64))
    rows = [
        cs.viz.structure(graph, depth=depth).svg().count('rx="4"')
        for depth in (0, 1, 2, 8)
    ]
    assert rows == sorted(set(rows))
    assert rows[-1] == len(graph.nodes)
    assert cs.viz.structure(graph).svg().count('rx="4"') <= 40


@pytest.mark.parametrize("path", ["a.gif", "a"])
def test_other_endings_are_refused(tmp_path, path):
    with pytest.raises(ArgumentError, match=r"Use \.html, \.svg, \.png or \.pdf"):
        cs.viz.structure(_graph()).save(tmp_path / path)


def test_a_depth_below_0_is_refused():
    with pytest.raises(ArgumentError, match="depth=-1 is below 0"):
        cs.viz.structure(_graph(), depth=-1)
