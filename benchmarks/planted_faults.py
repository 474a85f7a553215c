"""How many planted faults ``data audit --features`` finds, and how much else it names.

    python benchmarks/planted_faults.py          both sizes, five draws: 15 minutes
    python benchmarks/planted_faults.py 20       20 pictures of each class
    python benchmarks/planted_faults.py --keep   into results/planted_faults.json

Each draw writes so many CIFAR-10 pictures of each class into a folder, with 5 % of the
labels swapped, ten changed copies (two each: resized, saved again as JPEG, brighter or
darker, all of these, cropped) and five foreign pictures (digits, and parts of two
photographs, as small). The thresholds were chosen on other draws than these. Copies
that hashes find count with those that features find.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

import convscope as cs
from convscope.bench.machine import machine

RESULTS = Path(__file__).parent / "results" / "planted_faults.json"
MODEL = "efficientnet_lite0"
SIZES = (20, 100)
DRAWS = 5
CHANGES = ("resized", "jpeg", "light", "all", "cropped")
KINDS = ("near duplicates", "wrong labels", "outliers")


def changed(image: Image.Image, change: str, rng: np.random.Generator) -> Image.Image:
    """A copy that is nearly the same; saving as JPEG comes after."""
    if change in ("resized", "all"):
        side = int(rng.choice([20, 24, 48, 64]))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if change in ("light", "all"):
        image = ImageEnhance.Brightness(image).enhance(float(rng.choice([0.6, 1.4])))
    return image.crop((2, 3, 31, 32)) if change == "cropped" else image


def foreign(number: int, rng: np.random.Generator) -> Image.Image:
    """A digit, or a square part of a photograph, at 32 pixels."""
    if number < 2:
        digits = cs.data.load("digits").train.pixels
        image = Image.fromarray(digits[int(rng.integers(len(digits))), 0].numpy())
    else:
        photo = Image.fromarray(load_sample_images().images[number % 2])
        left, top = int(rng.integers(320)), int(rng.integers(107))
        image = photo.crop((left, top, left + 320, top + 320))
    return image.convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)


def plant(
    data: cs.Dataset, of_each: int, draw: int, folder: Path
) -> dict[str, set[Any]]:
    """Writes the folder; what is wrong with it, in paths."""
    rng = np.random.default_rng((of_each, draw))
    labels, classes = data.train.labels.numpy(), data.classes
    chosen = np.concatenate(
        [
            rng.choice(np.flatnonzero(labels == k), of_each, replace=False)
            for k in range(len(classes))
        ]
    )
    swapped = rng.choice(len(chosen), len(chosen) // 20, replace=False)
    planted: dict[str, set[Any]] = {kind: set() for kind in KINDS}
    paths = []
    for number, index in enumerate(chosen.tolist()):
        label = int(labels[index])
        if number in swapped:
            label = int(rng.choice(np.delete(np.arange(len(classes)), label)))
        path = f"{classes[label]}/{number:04}.png"
        paths.append(path)
        if number in swapped:
            planted["wrong labels"].add(path)
        (folder / classes[label]).mkdir(exist_ok=True)
        pixels = np.moveaxis(data.train.pixels[index].numpy(), 0, -1)
        Image.fromarray(pixels).save(folder / path)
    right = np.setdiff1d(np.arange(len(chosen)), swapped)
    for number, index in enumerate(rng.choice(right, 10, replace=False).tolist()):
        change = CHANGES[number % len(CHANGES)]
        as_jpeg = change in ("jpeg", "all")
        place = (
            Path(paths[index]).parent / f"copy-{number}.{'jpg' if as_jpeg else 'png'}"
        )
        with Image.open(folder / paths[index]) as image:
            copy = changed(image, change, rng)
            copy.save(folder / place, quality=40)  # PNG has none
        planted["near duplicates"].add(frozenset((paths[index], place.as_posix())))
    for number in range(5):
        path = f"{classes[int(rng.integers(len(classes)))]}/foreign-{number}.png"
        foreign(number, rng).save(folder / path)
        planted["outliers"].add(path)
    return planted


def found(report: cs.data.AuditReport) -> dict[str, set[Any]]:
    """What the audit names, in the same form."""
    named: dict[str, set[Any]] = {kind: set() for kind in KINDS}
    for finding in report.problems:
        if finding.kind.startswith(("near duplicates", "look-alikes")):
            named["near duplicates"] |= {frozenset(group) for group in finding.files}
        elif finding.kind == "probable wrong labels":
            named["wrong labels"] |= {path for (path,) in finding.files}
        elif finding.kind == "outliers":
            named["outliers"] |= {path for (path,) in finding.files}
    return named


def measure(data: cs.Dataset, of_each: int, draw: int) -> dict[str, Any]:
    """Counts of one draw."""
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place, "set"), Path(place, "cache")
        folder.mkdir()
        planted = plant(data, of_each, draw, folder)
        look = partial(cs.features, MODEL)
        named = found(cs.data.audit(folder, features=look, cache_dir=cache))
        hashed = found(cs.data.audit(folder, cache_dir=cache))["near duplicates"]
    counts = {
        kind: {
            "planted": len(planted[kind]),
            "named": len(named[kind]),
            "right": len(planted[kind] & named[kind]),
        }
        for kind in KINDS
    }
    counts["near duplicates"]["by hashes"] = len(planted["near duplicates"] & hashed)
    return {"draw": draw, "counts": counts}


def table(kept: dict[str, Any]) -> str:
    """A row for each finding at each size, summed over the draws."""
    lines = [
        "| pictures of each class | planted | named | right | precision | recall |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for of_each in SIZES:
        draws = kept.get("draws", {}).get(str(of_each), [])
        for kind in KINDS if draws else ():
            total = {
                what: sum(draw["counts"][kind].get(what, 0) for draw in draws)
                for what in ("planted", "named", "right", "by hashes")
            }
            also = f" ({total['by hashes']} by hashes)" if total["by hashes"] else ""
            precision = total["right"] / max(1, total["named"])
            recall = total["right"] / total["planted"]
            lines.append(
                f"| {of_each}: {kind} | {total['planted']} | {total['named']} "
                f"| {total['right']}{also} | {precision:.0%} | {recall:.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, choices=[[], *SIZES], default=[])
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    data = cs.data.load("cifar10")
    kept: dict[str, Any] = {"machine": machine(), "model": MODEL, "draws": {}}
    for of_each in given.sizes or SIZES:
        rows = kept["draws"][str(of_each)] = []
        for draw in range(given.draws):
            rows.append(measure(data, of_each, draw))
            print(json.dumps(rows[-1]), flush=True)
            if given.keep:
                RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    print(table(kept))


if __name__ == "__main__":
    main()
