"""spec.json: what a run is, in words that another program can read."""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.data import load
from convscope.data.batching.augmentation import Augmentation
from convscope.data.preprocessing import Preprocessing
from convscope.errors import RunError
from convscope.train.classification import Heads
from convscope.train.recipe import Recipe
from convscope.train.untrusted_files import parse_json, read_text

FORMAT = 1
FILE = "spec.json"
CHECKSUM = "sha256"  # of all the rest of spec.json, under this key in it
OUTSIDE = {"source", "cache_dir", "progress", "preprocessing"}  # not for a spec to say
LOADING = inspect.signature(load).parameters.keys() - OUTSIDE


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Record):
    """Which network; ``name`` is None for one that the user built."""

    name: str | None
    options: dict[str, Any] = {}
    input_shape: tuple[int, int, int] = Field(description="(C, H, W) of one input.")
    parameters: int
    output: str | None = Field(
        None, description="Which output is for the classes, where there are several."
    )
    auxiliary: dict[str, float] = Field(
        {}, description="Outputs that were trained too, and what they counted."
    )


class DataSpec(_Record):
    """What the network was trained on."""

    name: str
    source: str
    fingerprint: str
    train: int
    val: int
    test: int
    notes: tuple[str, ...] = ()
    options: dict[str, Any] = {}


class FoldsSpec(_Record):
    """How the figures of a cross-validated run were made."""

    folds: int = Field(ge=2, le=10_000)
    repeats: int = Field(ge=1, le=10_000)
    validation: float = Field(
        ge=0, lt=1, description="Share of its images that each training watched."
    )
    unmeasured: Augmentation | None = Field(
        None, description="Random changes, of which each fold measures what to make."
    )


class RunSpec(_Record):
    """Everything needed to use the weights, or to train them again.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
    >>> run.spec.classes[:3], run.spec.input_shape
    (('0', '1', '2'), (1, 8, 8))
    """

    format: Literal[1] = 1
    convscope: str
    created: str
    model: ModelSpec
    data: DataSpec
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    recipe: Recipe
    folds: FoldsSpec | None = Field(
        None, description="How the run was cross-validated, if it was."
    )
    versions: dict[str, str]
    kept_epoch: int | None = Field(
        None, description="Whose weights these are, where it is not the last one."
    )
    temperature: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Logits are divided by it, so that probabilities mean what they "
        "say; 1 where training did not calibrate.",
    )
    files: dict[str, str] = Field(
        {}, description="sha256 of each other file, once training is through."
    )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one input."""
        return self.model.input_shape

    @property
    def heads(self) -> Heads:
        """Which outputs are for the classes."""
        return Heads(self.model.output, self.model.auxiliary)

    def to_json(self) -> str:
        """The text of spec.json, with a checksum of itself.

        It is escaped, for class names need not be Unicode.
        """
        values = self.model_dump(mode="json")
        return json.dumps({**values, CHECKSUM: _checksum(values)}, indent=2) + "\n"


def read_json(path: Path) -> Any:
    """The JSON in ``path``, if it is of a sane size.

    Raises:
        RunError: It is missing, or cannot be read.
    """
    try:
        return parse_json(read_text(path), path)
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing, so {path.parent} is not a run folder. "
            "Give a folder that `convscope train` made."
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error}.") from error


def _checksum(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_spec(folder: Path) -> RunSpec:
    """The spec of the run in ``folder``.

    Raises:
        RunError: It is missing, of another format, or a key is missing or wrong.
    """
    path = folder / FILE
    values = read_json(path)
    if not isinstance(values, dict):
        raise RunError(f"{path} holds no JSON object; it is not a run's spec.")
    found = values.get("format")
    if found != FORMAT:
        made = values.get("convscope", "unknown")
        raise RunError(
            f"{path}: format={found!r} is not {FORMAT}, the one this version reads "
            f"(written by convscope {made}). Use that version, or train again."
        )
    written = values.pop(CHECKSUM, None)
    try:
        spec = RunSpec.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise RunError(
            f"{path}: key {key!r}: {problem['msg'].lower()}. "
            "Put the original back, or train again."
        ) from None
    _require_sense(spec, path)
    if written not in (None, _checksum(values)):
        raise RunError(
            f"{path} has changed since it was written: its sha256 is not the one that "
            "it holds. Put the original back, or train again."
        )
    return spec


def _require_sense(spec: RunSpec, path: Path) -> None:
    """Refuses what no training writes, before anything is made as large as it says."""
    made = (spec.preprocessing.channels, *spec.preprocessing.size)
    if spec.input_shape != made:
        raise RunError(
            f"{path}: input_shape={spec.input_shape}, but the preprocessing makes "
            f"{made}. Put the original back, or train again."
        )
    if not spec.classes or len(set(spec.classes)) < len(spec.classes):
        raise RunError(f"{path}: the names of classes must be there, and differ.")
    if unknown := sorted(spec.data.options.keys() - LOADING):
        raise RunError(f"{path}: data.options holds {unknown[0]!r}, which is unknown.")
    device = spec.recipe.device
    try:
        meant = "cpu" if device == "auto" else torch.device(device).type
    except RuntimeError:
        meant = ""
    if meant in ("", "meta"):
        raise RunError(f"{path}: recipe.device={device!r} is no device.")
