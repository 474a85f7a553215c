"""What `convscope train FOLDER` makes of few pictures, beside plain PyTorch.

    python benchmarks/plain_transfer.py                 every folder: an hour
    python benchmarks/plain_transfer.py blood-cells     one of them
    python benchmarks/plain_transfer.py --keep          into results/plain_transfer.json

Each folder holds 20 training pictures of each class (camvid all) and up to 500 test
pictures. Plain PyTorch takes the same weights at 224 pixels: a logistic regression on
features, with scikit-learn's own settings, and all layers by AdamW at 1e-3 under a
cosine with random resized crops and reflections, for as much processor time as the
default took, its measurements included. Times are of one process on the CPU, without
judging.
"""

import argparse
import json
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

import convscope as cs
from convscope.bench.machine import machine
from convscope.data.published.local_files import data_folder

RESULTS = Path(__file__).parent / "results" / "plain_transfer.json"
OF_EACH, TESTED = 20, 500
SIDE, BATCH = 224, 32
Picture = tuple[str, str, Image.Image]  # part, class, pixels


def published(name: str) -> Iterator[Picture]:
    """20 training pictures of each class, and as many test pictures of each."""
    data = cs.data.load(name, validation=0)
    rng = np.random.default_rng(0)
    counts = {"train": OF_EACH, "test": TESTED // len(data.classes)}
    for part, count in counts.items():
        samples = data.parts[part]
        for label, class_name in enumerate(data.classes):
            rows = np.flatnonzero(samples.labels.numpy() == label)
            for row in rng.permutation(rows)[:count]:
                planes = samples.pixels[row].numpy()
                shown = planes[0] if len(planes) == 1 else np.moveaxis(planes, 0, -1)
                picture = Image.fromarray(np.ascontiguousarray(shown))
                yield part, class_name.replace("/", "-"), picture


def blood_cells(raw: Path) -> Iterator[Picture]:
    """Crops of single cells by kind, 60 of each to test."""
    with tarfile.open(raw / "blood-cells" / "bccd-half.tar.xz") as archive:
        archive.extractall(raw.parent / "raw", filter="data")
    place = raw.parent / "raw" / "BCCD"
    rng = np.random.default_rng(0)
    for part, lists, count in (
        ("train", ["train"], OF_EACH),
        ("test", ["val", "test"], 60),
    ):
        boxes: dict[str, list[tuple[str, list[int]]]] = {}
        names = [
            name
            for each in lists
            for name in (place / "ImageSets/Main" / f"{each}.txt").read_text().split()
        ]
        for name in names:
            tree = ET.parse(place / "Annotations" / f"{name}.xml")  # noqa: S314
            for cell in tree.iter("object"):
                corners = ("xmin", "ymin", "xmax", "ymax")
                box = [int(cell.findtext(f"bndbox/{each}", "0")) for each in corners]
                if min(box[2] - box[0], box[3] - box[1]) > 8:
                    boxes.setdefault(cell.findtext("name", ""), []).append((name, box))
        for kind, cells in boxes.items():
            for index in rng.permutation(len(cells))[:count]:
                name, box = cells[index]
                with Image.open(place / "JPEGImages" / f"{name}.jpg") as picture:
                    yield part, kind, picture.crop(box)


def camvid(raw: Path) -> Iterator[Picture]:
    """Whole frames, with a bicyclist (60 pixels or more) or without."""
    with tarfile.open(raw / "camvid" / "camvid-240x180.tar.xz") as archive:
        archive.extractall(raw.parent / "raw", filter="data")
    place = raw.parent / "raw" / "camvid"
    for source, part in (("train", "train"), ("val", "test"), ("test", "test")):
        for path in sorted((place / source).glob("*.jpg")):
            labels = np.asarray(
                Image.open(place / f"{source}annot" / f"{path.stem}.png")
            )
            with Image.open(path) as picture:
                found = "bicyclist" if (labels == 10).sum() >= 60 else "none"
                yield part, found, picture.convert("RGB")


FOLDERS: dict[str, Callable[[Path], Iterator[Picture]]] = {
    "cifar10": lambda _: published("cifar10"),
    "fashion-mnist": lambda _: published("fashion-mnist"),
    "blood-cells": blood_cells,
    "camvid": camvid,
}


def written(name: str, place: Path) -> Path:
    """The folder that a person would have."""
    raw = data_folder()
    if raw is None:
        raise SystemExit("plain_transfer: CONVSCOPE_DATA names no folder of data sets.")
    for number, (part, label, picture) in enumerate(FOLDERS[name](raw)):
        folder = place / name / part / label
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number}.png")
    return place / name


def by_default(folder: Path, seed: int) -> dict[str, Any]:
    """What the command does, from the folder to the weights."""
    began = time.process_time()
    made = cs.train.plan(folder, seed=seed)
    run = cs.fit(made.network(), made.data, made.recipe, listeners=[])
    seconds = time.process_time() - began
    found = run.evaluate()
    return {
        "accuracy": 100 * found.accuracy,
        "interval": [100 * end for end in found.interval],
        "seconds": seconds,
        "model": made.model,
        "start": made.recipe.start,
        "input_shape": made.data.input_shape,
        "notes": [note for note in made.data.notes if "measured" in note],
    }


def pixels_of(folder: Path) -> cs.Dataset:
    """The folder as the published weights' own preprocessing has it."""
    known = cs.models.pretrained("efficientnet_lite0")
    declared = cs.data.Preprocessing(
        size=(SIDE, SIDE),
        interpolation="bicubic",
        mean=known.mean,
        std=known.std,
    )
    return cs.data.load(folder, preprocessing=declared, validation=0)


def plain_head(data: cs.Dataset) -> dict[str, Any]:
    """A logistic regression on what reaches the last layer."""
    net: nn.Module = cs.models.build("efficientnet_lite0", weights="imagenet").eval()
    net.classifier = nn.Identity()

    def features(pixels: Tensor) -> np.ndarray:
        with torch.no_grad():
            parts = [net(normalized(part)) for part in pixels.split(BATCH)]
        return torch.cat(parts).numpy()

    began = time.process_time()
    fitted = LogisticRegression(max_iter=1000)
    fitted.fit(features(data.train.pixels), data.train.labels)
    seconds = time.process_time() - began
    right = fitted.predict(features(data.test.pixels)) == data.test.labels.numpy()
    return {"accuracy": 100 * float(right.mean()), "seconds": seconds}


def plain_tuning(data: cs.Dataset, seconds: float, seed: int) -> dict[str, Any]:
    """All layers, by the recipe that tutorials give, for so many seconds."""
    torch.manual_seed(seed)
    net = cs.models.build("efficientnet_lite0", weights="imagenet")
    net.classifier = nn.Linear(1280, len(data.classes))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    began, done, epochs = time.process_time(), 0.0, 0
    net.train()
    while done < 1:
        for rows in torch.randperm(len(data.train)).split(BATCH):
            done = min((time.process_time() - began) / seconds, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * 0.5 * (1 + np.cos(np.pi * done))
            if len(rows) < 2 or done >= 1:
                continue
            images = torch.stack([cropped(p) for p in data.train.pixels[rows]])
            optimizer.zero_grad()
            F.cross_entropy(net(normalized(images)), data.train.labels[rows]).backward()
            optimizer.step()
        epochs += 1
    seconds = time.process_time() - began
    net.eval()
    with torch.no_grad():
        parts = [
            net(normalized(part)).argmax(1) for part in data.test.pixels.split(BATCH)
        ]
    right = torch.cat(parts) == data.test.labels
    return {
        "accuracy": 100 * float(right.float().mean()),
        "seconds": seconds,
        "epochs": epochs,
    }


def cropped(pixels: Tensor) -> Tensor:
    """A random part of 8 to 100 % of the area, resized, mirrored every other time."""
    height, width = pixels.shape[1:]
    for _ in range(10):
        area = height * width * float(torch.empty(1).uniform_(0.08, 1))
        ratio = float(torch.empty(1).uniform_(np.log(3 / 4), np.log(4 / 3)).exp())
        h, w = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
        if 0 < h <= height and 0 < w <= width:
            break
    else:
        h, w = height, width
    top = int(torch.randint(height - h + 1, ()))
    left = int(torch.randint(width - w + 1, ()))
    part = pixels[None, :, top : top + h, left : left + w].float()
    whole = F.interpolate(part, (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return whole.flip(-1) if torch.rand(()) < 0.5 else whole


def normalized(pixels: Tensor) -> Tensor:
    return (pixels.float() - 127) / 128


def table(kept: dict[str, Any]) -> str:
    """A row for each folder and way."""
    lines = [
        "| folder | way | test accuracy | seconds of one core |",
        "| --- | --- | ---: | ---: |",
    ]
    for name, entry in kept.items():
        for way, found in entry["ways"].items():
            lines.append(
                f"| {name}, {entry['trained']} pictures | {way} "
                f"| {found['accuracy']:.1f} % | {found['seconds']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *FOLDERS], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--table", action="store_true", help="print, run nothing")
    given = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if given.table:
        print(table(kept))
        return
    torch.set_num_threads(1)  # so that processor time is time
    cs.execution.keep_freed_memory()
    with tempfile.TemporaryDirectory() as place:
        for name in given.names or FOLDERS:
            folder = written(name, Path(place))
            ours = by_default(folder, given.seed)
            data = pixels_of(folder)
            entry: dict[str, Any] = {
                "machine": machine(),
                "trained": len(data.train),  # of which ours validates on some
                "tested": len(data.test),
                "ways": {"convscope train": ours},
            }
            entry["ways"]["plain head"] = plain_head(data)
            print(table({name: entry}), flush=True)
            entry["ways"]["plain tuning"] = plain_tuning(
                data, ours["seconds"], given.seed
            )
            print(table({name: entry}).splitlines()[-1], flush=True)
            if given.keep:
                now = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
                RESULTS.write_text(json.dumps({**now, name: entry}, indent=1) + "\n")


if __name__ == "__main__":
    main()
