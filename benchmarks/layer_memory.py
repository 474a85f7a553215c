"""Bytes that each layer holds for its backward pass, beside twice output plus input.

    python benchmarks/layer_memory.py            every case of the layer contract
    python benchmarks/layer_memory.py Pool Conv  those whose name has such a word
    python benchmarks/layer_memory.py --keep     and write results/layer_memory.json

Held is what autograd saved when the forward pass is over: each storage once, parameters
and buffers not counted. The promise is about one operation; what is made of several, a
stage, may hold what they may together, each with its own input and output. A ratio
above 1 breaks the promise and is marked; the exit code is 1 then.

Max pooling is measured in bfloat16 too, where an index of torch's is four times its
value; those rows are printed for what they are and break no promise.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "layer_memory.json"
CASES = ROOT / "tests" / "contracts" / "layer_cases"


def load_cases() -> list[Any]:
    """The cases of every family, from the files that the tests read."""
    sys.path.insert(0, str(ROOT / "tests"))
    cases: list[Any] = []
    for path in sorted(CASES.glob("*.py")):
        name = f"contracts.layer_cases.{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a module.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        cases += module.CASES
    return cases


def held_bytes(layer: nn.Module, x: Tensor) -> tuple[int, Tensor]:
    """Bytes of the storages that autograd keeps for the backward pass, and the output.

    >>> held_bytes(nn.ReLU(), torch.zeros(10, requires_grad=True))[0]
    40
    """
    held: dict[int, int] = {}
    kept: list[Tensor] = []  # alive until counted, so that no address is used twice
    own = {
        t.untyped_storage().data_ptr() for t in (*layer.parameters(), *layer.buffers())
    }

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = layer(x)
    return sum(held.values()), out


def allowed_bytes(layer: nn.Module, x: Tensor) -> int:
    """Twice the output plus the input; of layers in a row, summed over them.

    >>> allowed_bytes(nn.Sequential(nn.ReLU(), nn.MaxPool1d(2)), torch.zeros(1, 4))
    80
    """
    parts = list(layer) if isinstance(layer, nn.Sequential) else [layer]
    total = 0
    for part in parts:
        out = part(x)
        out = out[0] if isinstance(out, tuple) else out
        total += 2 * out.nbytes + x.nbytes
        x = out
    return total


def measure(
    case: Any, *, training: bool = True, dtype: torch.dtype = torch.float32
) -> dict[str, Any]:
    """One row: what the layer holds, and what it may hold."""
    torch.manual_seed(0)
    layer = case.make().train(training).to(dtype)
    x = torch.randn(case.input).to(dtype).requires_grad_()
    held, out = held_bytes(layer, x)
    out = out[0] if isinstance(out, tuple) else out
    with torch.no_grad():
        allowed = allowed_bytes(layer, x)
    return {
        "layer": case.name,
        "dtype": str(dtype).removeprefix("torch."),
        "input_bytes": x.nbytes,
        "output_bytes": out.nbytes,
        "held_bytes": held,
        "allowed_bytes": allowed,
        "ratio": round(held / allowed, 3),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows, aligned."""
    width = max(len(row["layer"]) for row in rows)
    lines = [f"{'layer':{width}}     input    output      held   allowed  ratio"]
    for row in rows:
        mark = "  above" if row["ratio"] > 1 else ""
        lines.append(
            f"{row['layer']:{width}} {row['input_bytes']:9,} {row['output_bytes']:9,} "
            f"{row['held_bytes']:9,} {row['allowed_bytes']:9,} {row['ratio']:6.2f}"
            f"{mark}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--keep", action="store_true", help=f"write {RESULTS.name}")
    asked = parser.parse_args()
    cases = [
        case
        for case in load_cases()
        if not asked.words or any(word in case.name for word in asked.words)
    ]
    if not cases:
        parser.error(f"no layer has {' or '.join(asked.words)} in its name")
    rows = [measure(case) for case in cases]
    print(table(rows))
    above = [row for row in rows if row["ratio"] > 1]
    print(f"{len(rows)} layers, {len(above)} above twice output plus input")
    halves = [
        measure(case, dtype=torch.bfloat16) for case in cases if "MaxPool" in case.name
    ]
    if halves:
        more = [row for row in halves if row["ratio"] > 1]
        print(f"\nMax pooling in bfloat16, {len(more)} of {len(halves)} above:")
        print(table(halves))
    if asked.keep:
        found = {"torch": torch.__version__, "layers": [*rows, *halves]}
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    return 1 if above else 0


if __name__ == "__main__":
    sys.exit(main())
