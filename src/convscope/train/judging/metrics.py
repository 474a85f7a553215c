"""What a network is worth: figures from probabilities and labels."""

import csv
import dataclasses
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
from torch import Tensor

from convscope.errors import ArgumentError, DataError, Remedy
from convscope.train.judging.uncertainty import (
    CalibrationBin,
    calibration_bins,
    calibration_error,
    wilson,
)

Array = npt.NDArray[np.float64]

WIDE = 0.10  # an interval of an accuracy that is wider says little
TOP = 5  # top-5 is reported where there are more classes than that


@dataclass(frozen=True)
class ClassScore:
    """How well one class is told from the others.

    Attributes:
        name: The class.
        precision: Of the images called this, the fraction that is; None if none was.
        recall: Of the images that are this, the fraction called so; None if none is.
        f1: Harmonic mean of the two; None if the class is neither there nor predicted.
        support: Images that are this.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Average:
    """Unweighted mean over the classes that the labels hold.

    A class that was never predicted counts with precision 0. ``recall`` is also called
    balanced accuracy.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Mistake:
    """One image whose class was wrong, and how sure the network was of it."""

    name: str
    true: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class FoldScore:
    """What one network of a cross-validation did on the images left out for it.

    Attributes:
        repeat: From 1.
        fold: From 1.
        trained_on: Images that it was trained on.
        images: Images that it was judged by.
        correct: Of them.
        accuracy: ``correct / images``.
        seconds: That training and judging took.
    """

    repeat: int
    fold: int
    trained_on: int
    images: int
    correct: int
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class FoldFigures:
    """How the folds of a cross-validation did, each by itself.

    Attributes:
        folds: Parts that take turns in being left out.
        repeats: How often the images were parted anew.
        images: Images, each judged once for each repeat.
        scores: One for each fold of each repeat.
        spread: Standard deviation of their accuracies.
        corrected_interval: 95% interval of the accuracy over other training images,
            too (Nadeau and Bengio).
        test: What the final network did on the test part that the source names, if
            there is one.
    """

    folds: int
    repeats: int
    images: int
    scores: tuple[FoldScore, ...]
    spread: float
    corrected_interval: tuple[float, float]
    test: "Evaluation | None" = None


@dataclass(frozen=True)
class Evaluation:
    """What a network did on one set of labeled images; every field goes to JSON.

    Attributes:
        samples: Images with a label; the numbers are about these.
        unlabeled: Images without one, left out.
        correct: Images whose most probable class is the true one.
        accuracy: ``correct / samples``.
        interval: 95% Wilson interval of the accuracy.
        top5: Fraction whose true class is among the five most probable, or None.
        top5_note: Why ``top5`` is None; empty where it is not.
        balanced_accuracy: Mean recall over the classes that the labels hold.
        macro: Mean precision, recall and F1 over the classes that the labels hold.
        calibration_error: Expected gap between confidence and accuracy, 0 to 1.
        negative_log_likelihood: Mean of ``-ln p(true class)``, in nats.
        classes: Class names in label order.
        per_class: One score for each class, in that order.
        confusion: Counts: a row is the true class, a column the predicted one.
        calibration: The bins that ``calibration_error`` is summed over.
        mistakes: Wrong images, the most confident first.
        data: Which data set the images are from; empty where nobody said.
        part: Which part of it: ``train``, ``val``, ``test`` or ``all``.
        notes: Sentences a person should read, such as how the images were chosen.
        trained_on: Whether the network was trained on these very images: then the
            figures say little of new ones.
        folds: How the folds did, where every image was judged by a network that had
            not seen it; samples are then images times repeats.
        foldable: In how many folds how many images could be judged instead of these,
            where that would say more.

    >>> found = Evaluation.from_probabilities(
    ...     [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], [0, 1, 1], ("cat", "dog")
    ... )
    >>> found.correct, found.confusion
    (2, ((1, 0), (1, 1)))
    """

    samples: int
    unlabeled: int
    correct: int
    accuracy: float
    interval: tuple[float, float]
    top5: float | None
    top5_note: str
    balanced_accuracy: float
    macro: Average
    calibration_error: float
    negative_log_likelihood: float
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration: tuple[CalibrationBin, ...]
    mistakes: tuple[Mistake, ...]
    data: str = ""
    part: str = ""
    notes: tuple[str, ...] = ()
    trained_on: bool = False
    folds: FoldFigures | None = None
    foldable: tuple[int, int] | None = None

    @classmethod
    def from_probabilities(
        cls,
        probabilities: npt.ArrayLike | Tensor,
        labels: npt.ArrayLike | Tensor,
        classes: Sequence[str],
        names: Sequence[str] | None = None,
        *,
        mistakes: int = 20,
    ) -> "Evaluation":
        """Judge probabilities against labels.

        Args:
            probabilities: What the network gave; rows sum to 1.
            labels: Index of the true class; negative where it is not known.
            classes: Class names in label order, two or more.
            names: Where each image came from; its position by default.
            mistakes: How many of the worst mistakes to keep.

        Shape:
            probabilities: (N, K)
            labels:        (N,)

        Raises:
            ArgumentError: The arguments do not fit together, or are not probabilities.
            DataError: No image has a label.

        >>> e = Evaluation.from_probabilities([[0.9, 0.1], [0.8, 0.2]], [0, 1], "ab")
        >>> e.accuracy, e.confusion, e.mistakes[0].predicted
        (0.5, ((1, 0), (1, 0)), 'a')
        """
        p, true = _checked(probabilities, labels, classes, names)
        known = np.flatnonzero(true >= 0)
        from sklearn.metrics import (  # take a second to import
            confusion_matrix,
            log_loss,
        )

        if not len(known):
            raise DataError(
                f"evaluate: none of the {len(true)} images has a label, so there is "
                "nothing to compare with. Use predict, or give labeled images."
            )
        p, y = p[known], true[known]
        p /= p.sum(axis=1, keepdims=True)  # exact enough for scikit-learn's own check
        predicted, confidence = p.argmax(axis=1), p.max(axis=1)
        hits = predicted == y
        per_class, macro = _class_scores(y, predicted, classes)
        bins = tuple(calibration_bins(confidence, hits))
        columns = range(len(classes))
        confusion = confusion_matrix(y, predicted, labels=columns)
        top5, top5_note = _top5(p, y)
        wrong = np.flatnonzero(~hits)
        worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:mistakes]
        return cls(
            samples=len(y),
            unlabeled=len(true) - len(y),
            correct=int(hits.sum()),
            accuracy=float(hits.mean()),
            interval=wilson(int(hits.sum()), len(y)),
            top5=top5,
            top5_note=top5_note,
            balanced_accuracy=macro.recall,
            macro=macro,
            calibration_error=calibration_error(bins),
            negative_log_likelihood=float(log_loss(y, p, labels=columns)),
            classes=tuple(classes),
            per_class=per_class,
            confusion=tuple(tuple(int(n) for n in row) for row in confusion),
            calibration=bins,
            mistakes=tuple(
                Mistake(
                    str(known[i]) if names is None else str(names[known[i]]),
                    classes[y[i]],
                    classes[predicted[i]],
                    float(confidence[i]),
                )
                for i in worst
            ),
        )

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"accuracy {self.accuracy:.2%} (95% interval {low:.2%} to {high:.2%}) "
            f"on {self.images:,} {self.of_what}"
        )

    @property
    def images(self) -> int:
        """Different images: those of several repeats count once."""
        return self.samples if self.folds is None else self.folds.images

    @property
    def of_what(self) -> str:
        """What the images are, where that changes what the figures mean."""
        if self.folds is not None:
            times = f", {self.folds.repeats} times" if self.folds.repeats > 1 else ""
            return f"images in {self.folds.folds} folds{times}"
        return "images that it was trained on" if self.trained_on else "images"

    @property
    def judged_on(self) -> str:
        """How many images of what the figures are about, in a few words."""
        if self.folds is not None:
            return f"{self.images:,} {self.of_what}"
        return f"{self.samples:,} {self.part} images"

    @property
    def doubt(self) -> str:
        """A warning with numbers where the interval is wide; else empty."""
        low, high = self.interval
        if high - low <= WIDE:
            return ""
        few = "1 image says" if self.images == 1 else f"{self.images:,} images say"
        return (
            f"{few} little: the true accuracy may lie anywhere from {low:.0%} to "
            f"{high:.0%}, {100 * (high - low):.0f} points apart."
        )

    @property
    def remedy(self) -> Remedy | None:
        """What narrows an interval that is wide, if anything but more images does."""
        if not self.doubt or self.foldable is None:
            return None
        folds, images = self.foldable
        low, high = wilson(self.accuracy * images, images)
        return Remedy(
            f"judge all {images:,} images by cross-validation, which narrows that to "
            f"about {100 * (high - low):.0f} points",
            "folds",
            folds,
        )

    @property
    def confused(self) -> list[tuple[int, int, int]]:
        """Images, their class and what they were called, the most frequent first.

        >>> p = [[0.9, 0.1], [0.8, 0.2]]
        >>> judged = Evaluation.from_probabilities(p, [0, 1], "ab")
        >>> judged.confused
        [(1, 1, 0)]
        """
        pairs = sorted(
            (-count, i, j)
            for i, row in enumerate(self.confusion)
            for j, count in enumerate(row)
            if i != j and count
        )
        return [(-count, i, j) for count, i, j in pairs]

    def to_dict(self) -> dict[str, object]:
        """Plain numbers, strings, sequences and None: ready for ``json.dumps``."""
        return dataclasses.asdict(self)

    def to_csv(self) -> str:
        """One number in a row: ``metric,class,predicted,value``.

        The confusion matrix is the rows ``confusion,<true>,<predicted>,<count>``. A
        number that is not defined is an empty value.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("metric", "class", "predicted", "value"))
        table.writerows(self._rows())
        return text.getvalue()

    def _rows(self) -> Iterator[tuple[str, str, str, float | None]]:
        for name in ("samples", "unlabeled", "correct", "accuracy"):
            yield name, "", "", getattr(self, name)
        yield "accuracy_low", "", "", self.interval[0]
        yield "accuracy_high", "", "", self.interval[1]
        for name in ("top5", "balanced_accuracy"):
            yield name, "", "", getattr(self, name)
        for name, value in dataclasses.asdict(self.macro).items():
            yield f"macro_{name}", "", "", value
        for name in ("calibration_error", "negative_log_likelihood"):
            yield name, "", "", getattr(self, name)
        if self.folds is not None:
            yield "fold_spread", "", "", self.folds.spread
            yield "corrected_low", "", "", self.folds.corrected_interval[0]
            yield "corrected_high", "", "", self.folds.corrected_interval[1]
        for score in self.per_class:
            for name in ("precision", "recall", "f1", "support"):
                yield name, score.name, "", getattr(score, name)
        for true, row in zip(self.classes, self.confusion, strict=True):
            for predicted, count in zip(self.classes, row, strict=True):
                yield "confusion", true, predicted, count

    def _repr_html_(self) -> str:
        head = ("class", "precision", "recall", "F1", "images")
        rows = [
            (s.name, percent(s.precision), percent(s.recall), percent(s.f1), s.support)
            for s in self.per_class
        ]
        counts = [
            (name, *row) for name, row in zip(self.classes, self.confusion, strict=True)
        ]
        return (
            f"<p><b>{escape(str(self))}</b></p>{_html(head, rows)}"
            f"<p>Rows: true class. Columns: predicted class.</p>"
            f"{_html(('', *self.classes), counts)}"
        )


def percent(value: float | None) -> str:
    """A fraction as people read it; a dash where it is not defined.

    >>> percent(0.98612), percent(None)
    ('98.6%', '–')
    """
    return "–" if value is None else f"{value:.1%}"


def _checked(
    probabilities: npt.ArrayLike | Tensor,
    labels: npt.ArrayLike | Tensor,
    classes: Sequence[str],
    names: Sequence[str] | None,
) -> tuple[Array, npt.NDArray[np.int64]]:
    if isinstance(probabilities, Tensor):
        probabilities = probabilities.detach().cpu().double().numpy()
    if isinstance(labels, Tensor):
        labels = labels.cpu().numpy()
    p = np.array(probabilities, dtype=np.float64)  # a copy: it is normalized below
    y = np.array(labels, dtype=np.int64)
    if len(classes) < 2:
        raise ArgumentError(
            f"evaluate: classes={list(classes)} holds {len(classes)}. With fewer than "
            "two there is nothing to tell apart."
        )
    expected = (y.size, len(classes))
    if y.ndim != 1 or p.shape != expected:
        raise ArgumentError(
            f"evaluate: probabilities have shape {p.shape}, but {y.size} labels and "
            f"{len(classes)} classes need {expected}."
        )
    if names is not None and len(names) != y.size:
        raise ArgumentError(
            f"evaluate: names has {len(names)} entries for {y.size} labels. "
            "Give one for each image."
        )
    if y.size and y.max() >= len(classes):
        raise ArgumentError(
            f"evaluate: label {y.max()} is outside the {len(classes)} classes. "
            f"Labels are 0 to {len(classes) - 1}, or negative where unknown."
        )
    # float32 softmax over K classes sums to 1 within K * 6e-8; 1e-3 also allows bf16.
    odd = ~((p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) < 1e-3))
    if odd.any():
        raise ArgumentError(
            f"evaluate: {odd.sum()} of {y.size} rows of probabilities are not finite, "
            "negative, or do not sum to 1. Pass softmax(logits)."
        )
    return p, y


def _class_scores(
    y: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]
) -> tuple[tuple[ClassScore, ...], Average]:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, support = precision_recall_fscore_support(
        y, predicted, labels=range(len(classes)), zero_division=np.nan
    )
    table = np.stack([precision, recall, f1])
    there = np.nan_to_num(table[:, support > 0]).mean(axis=1)
    scores = (
        ClassScore(name, _defined(p), _defined(r), _defined(f), int(count))
        for name, (p, r, f), count in zip(classes, table.T, support, strict=True)
    )
    return tuple(scores), Average(*map(float, there))


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _top5(p: Array, y: npt.NDArray[np.int64]) -> tuple[float | None, str]:
    from sklearn.metrics import top_k_accuracy_score

    classes = p.shape[1]
    if classes <= TOP:
        return None, f"always 1 with {classes} classes"
    score = top_k_accuracy_score(y, p, k=TOP, labels=range(classes))
    return float(score), ""


def _html(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    def line(tag: str, cells: Sequence[object]) -> str:
        inner = "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table>{line('th', head)}{body}</table>"
