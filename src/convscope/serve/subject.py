"""What the page is about: a network, what goes in, and what its answers mean."""

from dataclasses import dataclass

from torch import nn

from convscope.data.preprocessing import Preprocessing
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
        run: The run that it is of.
    """

    net: nn.Module
    title: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    run: Run

    @property
    def is_drawn(self) -> bool:
        """Whether its pictures are drawings in gray: the page shows a board."""
        return self.preprocessing.channels == 1

    @property
    def has_data(self) -> bool:
        """Whether the run says where its data are."""
        return bool(self.run.spec.data.source)

    @property
    def figure(self) -> str | None:
        """How good the run is on the last pictures that it was watched on."""
        last = self.run.history[-1] if self.run.history else {}
        accuracy = last.get("val_accuracy")
        return None if accuracy is None else f"{accuracy:.1%} in validation"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return (self.preprocessing.channels, *self.preprocessing.size)


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
