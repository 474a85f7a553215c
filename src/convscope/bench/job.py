"""What a race is about: the work, who takes part, how each did."""

import statistics
from dataclasses import dataclass, field
from typing import Any, Literal

from convscope.errors import ArgumentError

Task = Literal["train", "forward"]


@dataclass(frozen=True)
class Job:
    """The work: which network, on what, how often.

    Attributes:
        network: A model's name.
        shape: (C, H, W) of an image.
        batch: Images in a step.
        threads: Threads that everybody may use; also the cores they are kept on.
        task: ``train``: forward, cross-entropy, backward, SGD with momentum 0.9.
        learning_rate: Per update.
        options: Of the model, such as ``{"configuration": "relu"}``.
    """

    network: str
    shape: tuple[int, int, int]
    batch: int
    threads: int = 1
    task: Task = "train"
    learning_rate: float = 0.01
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("batch", "threads"):
            if getattr(self, name) < 1:
                raise ArgumentError(
                    f"bench: {name}={getattr(self, name)} must be at least 1."
                )


@dataclass(frozen=True)
class Entrant:
    """One way of doing the work.

    Attributes:
        name: What tables call it.
        library: ``torch``, ``jax``, ``keras`` or ``onnx``: the file that knows how.
        variant: Words that it understands.
        precision: Of its products.
        environment: Variables that its process gets.
    """

    name: str
    library: str
    variant: tuple[str, ...] = ()
    precision: Literal["float32", "bfloat16"] = "float32"
    environment: dict[str, str] = field(default_factory=dict)


ENTRANTS = (
    Entrant("convscope", "torch", ("ours", "allocator"), "bfloat16"),
    Entrant("convscope, float32", "torch", ("ours", "allocator", "float32")),
    Entrant("PyTorch", "torch"),
    Entrant("PyTorch, channels-last", "torch", ("channels_last", "fused", "allocator")),
    Entrant("PyTorch, fused, allocator", "torch", ("fused", "allocator")),
    Entrant(
        "PyTorch, bfloat16", "torch", ("bfloat16", "fused", "allocator"), "bfloat16"
    ),
    Entrant(
        "PyTorch, bfloat16, channels-last",
        "torch",
        ("bfloat16", "channels_last", "fused", "allocator"),
        "bfloat16",
    ),
    Entrant("torch.compile", "torch", ("compile",)),
    Entrant("JAX, jitted", "jax"),
    Entrant(
        "Keras, TensorFlow", "keras", (), "float32", {"KERAS_BACKEND": "tensorflow"}
    ),
    Entrant("Keras, JAX", "keras", (), "float32", {"KERAS_BACKEND": "jax"}),
    Entrant("ONNX Runtime", "onnx"),
)
"""Everyone who can take part in a race."""


@dataclass
class Result:
    """How one entrant did.

    Attributes:
        name: Of the entrant.
        seconds: For one step, one figure a repeat.
        cpu_seconds: Processor time for one step, likewise.
        memory_bytes: Most that its process held beyond its libraries.
        difference: Largest from PyTorch, as a share of the largest number.
        versions: Of its libraries.
        absent: Why it did not take part; empty if it did.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    difference: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    absent: str = ""

    @property
    def median(self) -> float:
        """Seconds for one step, the middle of the repeats."""
        return statistics.median(self.seconds)
