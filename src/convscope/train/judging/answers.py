"""What a network answered, image by image, beside what is true."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convscope.data.dataset import Samples
from convscope.train.judging.metrics import Evaluation


@dataclass(frozen=True)
class Answers:
    """Probabilities for every image of one part; all figures follow from them.

    Attributes:
        samples: The images, their labels in the network's own classes, their names.
        probabilities: (N, K) float64; rows sum to 1.
        classes: Class names in the order of the columns.
        data: Which data set the images are from.
        part: Which part of it: ``train``, ``val``, ``test`` or ``all``.
        notes: Sentences a person should read, such as how the images were chosen.
        trained_on: Whether the network was trained on these very images.
        foldable: As in ``Evaluation``.
        figures: The figures, where they are of more than these answers: of all repeats
            of a cross-validation.

    >>> import torch
    >>> two = Samples(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), ["a", "b"])
    >>> found = Answers(two, np.array([[0.9, 0.1], [0.8, 0.2]]), ("cat", "dog"))
    >>> found.wrong.tolist(), found.confidence.tolist()
    ([1], [0.9, 0.8])
    """

    samples: Samples
    probabilities: npt.NDArray[np.float64]
    classes: tuple[str, ...]
    data: str = ""
    part: str = ""
    notes: tuple[str, ...] = ()
    trained_on: bool = False
    foldable: tuple[int, int] | None = None
    figures: Evaluation | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(N,) index of the true class; negative where it is not known."""
        labels: npt.NDArray[np.int64] = self.samples.labels.numpy()
        return labels

    @property
    def predicted(self) -> npt.NDArray[np.intp]:
        """(N,) index of the most probable class."""
        predicted: npt.NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return predicted

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(N,) probability of the most probable class."""
        confidence: npt.NDArray[np.float64] = self.probabilities.max(axis=1)
        return confidence

    @property
    def hits(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the most probable class is the true one."""
        hits: npt.NDArray[np.bool_] = self.predicted == self.labels
        return hits

    @property
    def wrong(self) -> npt.NDArray[np.intp]:
        """Positions of labeled images called by another name, the surest first."""
        wrong = np.flatnonzero(~self.hits & (self.labels >= 0))
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")]

    def labeled(self) -> "Answers":
        """The same without images whose class is not known."""
        known = np.flatnonzero(self.labels >= 0)
        if len(known) == len(self):
            return self
        return dataclasses.replace(
            self,
            samples=self.samples.subset(known),
            probabilities=self.probabilities[known],
        )

    def evaluation(self, mistakes: int = 20) -> Evaluation:
        """The figures, with so many of the worst mistakes.

        Raises:
            DataError: No image has a label.
        """
        if self.figures is not None:
            return self.figures
        found = Evaluation.from_probabilities(
            self.probabilities,
            self.samples.labels,
            self.classes,
            self.samples.names,
            mistakes=mistakes,
        )
        return dataclasses.replace(
            found,
            data=self.data,
            part=self.part,
            notes=self.notes,
            trained_on=self.trained_on,
            foldable=self.foldable,
        )
