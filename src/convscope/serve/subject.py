"""What the page is about: a network, what goes in, and what its answers mean."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convscope.data.preprocessing import Preprocessing
from convscope.errors import ArgumentError
from convscope.train.run import Run


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and what is known of it; never changed while the page is open.

    Attributes:
        net: The network, in evaluation, on the CPU.
        title: What to call it.
        classes: What its outputs mean, in order.
        preprocessing: How a picture becomes its input.
        temperature: What its logits are divided by; 1 leaves them as they are.
        run: The run that it is of, if it is of one.
    """

    net: nn.Module
    title: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    run: Run | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether its pictures are drawings in gray: the page shows a board."""
        return self.preprocessing.channels == 1

    @property
    def has_data(self) -> bool:
        """Whether there is a run, which says where its data are."""
        return self.run is not None and bool(self.run.spec.data.source)

    @property
    def figure(self) -> str | None:
        """How good the run is on the last pictures that it was watched on."""
        last = self.run.history[-1] if self.run and self.run.history else {}
        accuracy = last.get("val_accuracy")
        return None if accuracy is None else f"{accuracy:.1%} in validation"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return (self.preprocessing.channels, *self.preprocessing.size)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing on the page, and why."""
        if self.run is None or self.has_data:
            return ()
        return (
            "There are no pictures to choose from: this run's data were arrays, which "
            "are not stored.",
        )


def subject_of(run: Run) -> Subject:
    """What the page needs to know of a run."""
    return Subject(
        net=run.classifier.to("cpu").eval(),
        title=run.folder.name if run.folder else run.spec.model.name or "network",
        classes=tuple(run.spec.classes),
        preprocessing=run.spec.preprocessing,
        temperature=run.spec.temperature,
        run=run,
    )


def subject_of_network(
    net: nn.Module,
    title: str,
    preprocessing: Preprocessing,
    classes: Sequence[str] | None = None,
) -> Subject:
    """A network that is of no run.

    Args:
        net: The network.
        title: What to call it.
        preprocessing: How a picture becomes its input.
        classes: What its outputs mean; numbers by default.

    Raises:
        ArgumentError: It gives something else than a number for each class.
    """
    shape = (preprocessing.channels, *preprocessing.size)
    with torch.no_grad():
        output = net.eval()(torch.zeros(1, *shape))
    if not isinstance(output, Tensor) or output.ndim != 2:
        given = tuple(output.shape) if isinstance(output, Tensor) else type(output)
        raise ArgumentError(
            f"play: {title} gives {given} for a picture {shape}. The page shows "
            "networks that give one number for each class, (1, classes)."
        )
    names = tuple(classes or map(str, range(output.shape[1])))
    return Subject(net, title, names, preprocessing, 1.0)
