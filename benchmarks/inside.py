"""What looking inside a network costs, beside what is promised.

    python benchmarks/inside.py              every row
    python benchmarks/inside.py unit maps    those whose name has such a word
    python benchmarks/inside.py --keep       and write results/inside.json

Seconds are those of the process, summed over its threads, the least of some calls, so
that other work on the machine counts less. Networks have random weights, which cost
the same as trained ones; the last two rows train LeNet-5 on MNIST for an epoch, where
CONVSCOPE_DATA names the folder that holds it. A row that takes longer than it may is
marked, and the exit code is 1 then.
"""

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import convscope as cs
from convscope.bench.machine import machine
from convscope.train.run import Run
from convscope.train.training.events import Event
from convscope.train.training.film_keeper import FilmKeeper
from convscope.viz.report.saving import save_report

RESULTS = Path(__file__).parent / "results" / "inside.json"

UNITS: dict[str, tuple[type[nn.Module], ...]] = {
    "lenet5": (nn.Conv2d, nn.Linear),
    "resnet18": (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear),
    "efficientnet_lite0": (nn.Conv2d, nn.ReLU6, nn.Linear),
    "vgg16": (nn.Conv2d, nn.ReLU),
}


@dataclass(frozen=True)
class Row:
    """One promise.

    Attributes:
        name: What is done.
        network: With which network.
        most: Seconds that it may take.
        prepare: Makes what is timed.
        calls: How often, of which the least counts.
        passes: Forward passes in it, which no promise can make shorter: what they take
            is added to ``most``.
    """

    name: str
    network: str
    most: float
    prepare: Callable[[], Callable[[], Any]]
    calls: int = 3
    passes: int = 0

    def seconds(self) -> float:
        """The least of some calls after one that is not counted."""
        call = self.prepare()
        call()
        found = []
        for _ in range(self.calls):
            began = time.process_time()
            call()
            found.append(time.process_time() - began)
        return min(found)


def network(name: str) -> tuple[nn.Module, Tensor]:
    """A network in evaluation and one input of its size."""
    torch.manual_seed(0)
    net = cs.models.build(name).eval()
    return net, torch.rand(1, *cs.models.find(name).input_shape)


def why(name: str, *, trust: bool) -> Callable[[], Callable[[], Any]]:
    """Grad-CAM of one picture, drawn."""

    def prepare() -> Callable[[], Any]:
        net, x = network(name)
        return lambda: cs.viz.attribution(cs.attribute(net, x, trust=trust), x).png()

    return prepare


def forward(name: str) -> Callable[[], Callable[[], Any]]:
    """The network alone."""

    def prepare() -> Callable[[], Any]:
        net, x = network(name)
        return torch.no_grad()(lambda: net(x))

    return prepare


def unit(
    name: str, kind: type[nn.Module], *, ready: bool
) -> Callable[[], Callable[[], Any]]:
    """One unit in the middle of the middle layer of a kind; of a pass that was made."""

    def prepare() -> Callable[[], Any]:
        net, x = network(name)
        paths = [path for path, m in net.named_modules() if isinstance(m, kind)]
        path = paths[len(paths) // 2]
        shape = cs.capture(net, x, path)[path].shape[1:]
        place = tuple(size // 2 for size in shape[1:])
        if not ready:
            return lambda: cs.explain_unit(net, x, path, shape[0] // 2, place)
        explainer = cs.analysis.UnitExplainer(net, x)
        return lambda: explainer.explain(path, shape[0] // 2, place)

    return prepare


def maps(name: str) -> Callable[[], Callable[[], Any]]:
    """Maps of every layer for one picture, drawn."""

    def prepare() -> Callable[[], Any]:
        net, x = network(name)
        return lambda: cs.viz.feature_maps(cs.analysis.feature_maps(net, x)).png()

    return prepare


def cones(name: str, *, ready: bool) -> Callable[[], Callable[[], Any]]:
    """What the middle of every map sees, and what sees it; or the record for that."""

    def prepare() -> Callable[[], Any]:
        net, x = network(name)
        shape = tuple(x.shape[1:])
        if not ready:
            return lambda: cs.analysis.unit_cones(net, shape)
        made = cs.analysis.unit_cones(net, shape)
        middles = {k: tuple(n // 2 for n in s) for k, s in made.shapes.items()}

        def ask() -> None:
            for label, index in middles.items():
                made.sees(label, index)
                made.seen_by(label, index)

        return ask

    return prepare


def questions(name: str) -> int:
    """How many questions `cones` asks of a network."""
    return 2 * len(
        cs.analysis.unit_cones(
            *(network(name)[0], cs.models.find(name).input_shape)
        ).shapes
    )


def rows() -> Iterator[Row]:
    """Every promise."""
    yield Row("why-picture", "resnet18", 1.0, why("resnet18", trust=False))
    yield Row(
        "why-picture with trust", "resnet18", 10.0, why("resnet18", trust=True), 1
    )
    for name, kinds in UNITS.items():
        for kind in kinds:
            word = f"explain_unit, {kind.__name__}"
            alone, ready = unit(name, kind, ready=False), unit(name, kind, ready=True)
            yield Row(word, name, 0.05, alone, 5, passes=1)
            yield Row(f"{word}, pass made", name, 0.05, ready, 5)
    yield Row("maps of all layers, drawn", "vgg16", 5.0, maps("vgg16"), 1)
    for name in ("lenet5", "resnet50", "efficientnet_lite0"):
        yield Row("record of all cones", name, 2.0, cones(name, ready=False))
        count = questions(name)
        yield Row(
            f"{count} cones of units", name, 0.002 * count, cones(name, ready=True)
        )


class TimedKeeper(FilmKeeper):
    """Keeps a film, and what that takes."""

    seconds = 0.0

    def __call__(self, event: Event) -> None:
        """As the film's keeper."""
        began = time.process_time()
        super().__call__(event)
        self.seconds += time.process_time() - began


@functools.cache
def trained() -> tuple[Run, float, float]:
    """A run on MNIST, what its epoch took, and what of that its film took."""
    data = cs.data.load("mnist")
    with tempfile.TemporaryDirectory() as place:
        keeper = TimedKeeper(Path(place, "run"))
        began = time.process_time()
        run = cs.fit("lenet5", data, folder=Path(place, "run"), epochs=1,
                     listeners=[keeper])  # fmt: skip
        return run, time.process_time() - began, keeper.seconds


def film() -> tuple[float, float]:
    """What a film takes in a training, and 2 % of the training without it."""
    _, whole, seconds = trained()
    return seconds, 0.02 * (whole - seconds)


def mnist_report() -> tuple[float, float]:
    """What the report of 10,000 test images takes, found out and written."""
    run, *_ = trained()
    with tempfile.TemporaryDirectory() as place:
        began = time.process_time()
        save_report(cs.report(run), Path(place, "report.html"))
        return time.process_time() - began, 20.0


TRAINED: dict[str, Callable[[], tuple[float, float]]] = {
    "film, in an epoch of MNIST": film,
    "report of MNIST, written": mnist_report,
}


def measured(row: Row, alone: dict[str, float]) -> tuple[float, float]:
    """Seconds of a row, and how many it may take; ``alone`` keeps forward passes."""
    seconds, most = row.seconds(), row.most
    if row.passes:
        if row.network not in alone:
            plain = Row("forward pass", row.network, 0, forward(row.network), 5)
            alone[row.network] = plain.seconds()
        most += row.passes * alone[row.network]
    return seconds, most


def promises() -> Iterator[tuple[str, str, Callable[[], tuple[float, float]]]]:
    """What is done, with which network, and what finds seconds and the most of them."""
    alone: dict[str, float] = {}  # seconds of a forward pass, by network
    for row in rows():
        yield row.name, row.network, functools.partial(measured, row, alone)
    if "CONVSCOPE_DATA" not in os.environ:
        print("MNIST is left out: CONVSCOPE_DATA names no folder", file=sys.stderr)
        return
    for name, find in TRAINED.items():
        yield name, "lenet5", find


def main() -> int:
    """Prints the table; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="parts of names of rows")
    parser.add_argument("--keep", action="store_true", help="write the results")
    given = parser.parse_args()
    made, broken = [], False
    print(f"{'':<38}{'network':<20}{'seconds':>9}{'at most':>9}")
    for name, of, find in promises():
        if given.words and not any(word in f"{name} {of}" for word in given.words):
            continue
        seconds, most = find()
        late = seconds > most
        broken = broken or late
        mark = "  too long" if late else ""
        print(
            f"{name:<38}{of:<20}{seconds:>9.4f}{most:>9.3f}{mark}",
            flush=True,
        )
        made.append(
            {"name": name, "network": of, "cpu_seconds": round(seconds, 5),
             "at_most": round(most, 5)}
        )  # fmt: skip
    if given.keep:
        record = {"machine": machine(), "rows": made}
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
