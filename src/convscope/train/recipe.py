"""Everything that decides a run: same recipe, data and machine, same weights."""

import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convscope.data.batching.augmentation import Augmentation
from convscope.errors import ArgumentError, UnknownNameError

Optimizer = Literal["sgd", "adamw", "muon"]
Schedule = Literal["onecycle", "cosine", "step", "constant"]
Keep = Literal["auto", "best", "last"]
Balance = Literal["none", "weights", "sampling"]
Precision = Literal["auto", "float32", "bfloat16"]
NormStatistics = Literal["batch", "start"]
Tta = Literal["none", "flip", "shift", "both"]


class Recipe(BaseModel):
    """How a network is trained. Frozen; every field is also a flag of ``train``.

    A recipe travels as TOML: ``to_toml``, ``from_toml``. Unknown keys and values that
    are out of range are refused, with the nearest name.

    >>> Recipe(epochs=3).with_changes({"learning_rate": 0.05}).learning_rate
    0.05
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str | None = Field(
        None, description="A name from `convscope models`; by default one that suits."
    )
    model_options: dict[str, int | float | str] = Field(
        {}, description="Of the model, such as width=16."
    )
    epochs: int = Field(20, ge=1, description="Passes over the training images.")
    minutes: float | None = Field(
        None,
        gt=0,
        description="Train for this many minutes, however many epochs that is.",
    )
    batch_size: int = Field(128, ge=1, description="Images in one step.")
    start: str | None = Field(
        None,
        description="Weights to begin with: imagenet, a file, or a run; none: random.",
    )
    freeze: tuple[str, ...] = Field(
        (), description="Layers that keep their weights; * and ? stand for others."
    )
    norm_statistics: NormStatistics = Field(
        "batch", description="Batch norm by each batch, or as the start has it."
    )
    head_only: bool = Field(
        False, description="Fit the last layer by itself, in seconds; no epochs."
    )
    optimizer: Optimizer = Field(
        "sgd", description="Rule by which gradients change the weights."
    )
    learning_rate: float = Field(0.05, gt=0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd and muon.")
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Learning rate from layer to layer, last to first."
    )
    bias_rate: float = Field(
        1.0, gt=0, description="Multiplies the learning rate of biases and norms."
    )
    nesterov: bool = Field(True, description="Nesterov's momentum.")
    weight_decay: float = Field(
        5e-4, ge=0, description="Pull to 0 of all weights but biases and norms."
    )
    schedule: Schedule = Field("onecycle", description="How the learning rate moves.")
    warmup: float | None = Field(
        None, ge=0, lt=1, description="Part of training in which the rate rises."
    )  # none: 0.2 with onecycle, 0 with the others
    step_at: tuple[float, ...] = Field(
        (0.5, 0.75), description="Where schedule 'step' divides the rate, 0 to 1."
    )
    step_factor: float = Field(
        0.1, gt=0, lt=1, description="What schedule 'step' multiplies the rate by."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Probability given to the other classes."
    )
    clip_norm: float | None = Field(
        None, gt=0, description="Largest norm of the gradient; none: not clipped."
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay per step of the average of weights; 0: none.",
    )
    lookahead: int = Field(
        0, ge=0, description="Steps between two pulls to slow weights; 0: none."
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a better val loss."
    )
    keep: Keep = Field(
        "auto", description="Weights to keep; auto: best if validated, not averaged."
    )
    balance: Balance = Field("none", description="How unequal classes are evened out.")
    precision: Precision = Field("auto", description="Number format of the network.")
    optimize: bool = Field(
        True, description="Measure which setting and kernels are fastest; use those."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps.")
    tta: Tta = Field(
        "none", description="Changed copies of each image to average over in judging."
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="Decides first weights, order and augmentation."
    )
    augmentation: Augmentation = Field(
        Augmentation(), description="Random changes to the training images."
    )

    def with_changes(self, changes: dict[str, Any]) -> "Recipe":
        """A copy with some fields changed; augmentation's may be given by their name.

        Raises:
            UnknownNameError: A key is no field of the recipe.
            ArgumentError: A value is not allowed; names the field and the value.

        >>> Recipe().with_changes({"flip": True}).augmentation.flip
        True
        """
        own: dict[str, Any] = {}
        augmentation = self.augmentation.model_dump()
        for key, value in changes.items():
            if key == "augmentation":
                values = (
                    value.model_dump() if isinstance(value, Augmentation) else value
                )
                for inner in values:
                    _known_or_refuse(inner, augmentation)
                augmentation.update(values)
            elif key in augmentation:
                augmentation[key] = value
            else:
                _known_or_refuse(key, {*type(self).model_fields, *augmentation})
                own[key] = value
        merged = {**self.model_dump(), **own, "augmentation": augmentation}
        try:
            return Recipe.model_validate(merged)
        except ValidationError as error:
            raise ArgumentError(_first_problem(error)) from None

    @classmethod
    def from_toml(cls, text: str) -> "Recipe":
        """The recipe written in ``text``; what it leaves out is the default.

        Raises:
            ArgumentError: Not TOML, an unknown key, or a value that is not allowed.

        >>> Recipe.from_toml("epochs = 3").epochs
        3
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ArgumentError(f"recipe: not valid TOML: {error}.") from None
        return cls().with_changes(values)

    @classmethod
    def from_file(cls, path: str | Path) -> "Recipe":
        """The recipe in a TOML file."""
        try:
            return cls.from_toml(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(f"recipe: cannot read {path}: {error}.") from None

    def to_toml(self) -> str:
        """TOML of every field that is set (TOML has no word for none).

        >>> Recipe(epochs=3).to_toml().splitlines()[0]
        'epochs = 3'
        """
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def _known_or_refuse(key: str, known: Any) -> None:
    if key not in known:
        raise UnknownNameError("recipe key", key, known)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    return f"recipe: {where}={problem['input']!r} {_plain(problem['msg'])}."


def _plain(message: str) -> str:
    plain = message.replace("Input should", "must")
    return plain[:1].lower() + plain[1:]
