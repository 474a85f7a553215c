"""spec.json: what a run is, in words that another program can read."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.data.preprocessing import Preprocessing
from convscope.errors import RunError
from convscope.train.recipe import Recipe

FORMAT = 1
FILE = "spec.json"
_LARGEST = 16 * 2**20  # bytes; a spec with 10,000 class names has under 1 MiB


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Record):
    """Which network; ``name`` is None for one that the user built."""

    name: str | None
    options: dict[str, Any] = {}
    input_shape: tuple[int, int, int] = Field(description="(C, H, W) of one input.")
    parameters: int


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
    versions: dict[str, str]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one input."""
        return self.model.input_shape

    def to_json(self) -> str:
        """The text of spec.json; escaped, for class names need not be Unicode."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def read_json(path: Path) -> Any:
    """The JSON in ``path``, if it is of a sane size."""
    try:
        if path.stat().st_size > _LARGEST:
            raise RunError(
                f"{path} has over {_LARGEST:,} bytes; that is no run's file."
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing, so {path.parent} is not a run folder. "
            "Give a folder that `convscope train` made."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}.") from error


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
    try:
        return RunSpec.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise RunError(
            f"{path}: key {key!r}: {problem['msg'].lower()}. "
            "Put the original back, or train again."
        ) from None
