"""Everything that a report says of a run, as one record."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convscope.analysis import Attribution, Filters, Health
from convscope.analysis.render import Summary
from convscope.data import AuditReport, Dataset
from convscope.train.judging.answers import Answers
from convscope.train.judging.baselines import Baseline
from convscope.train.judging.calibration import Temperature
from convscope.train.judging.label_doubts import LabelDoubt
from convscope.train.judging.metrics import Evaluation
from convscope.train.judging.near_duplicates import NearDuplicates
from convscope.train.judging.slices import ConfusedPair, Slice
from convscope.train.judging.uncertainty import wilson
from convscope.train.spec import RunSpec


@dataclass(frozen=True)
class RunRecord:
    """What a run says of itself, without any data.

    Attributes:
        title: Of the run: its folder's name, or model and data.
        spec: What was trained on what.
        history: One dictionary for each epoch.
        layers: The network's layers, counted; None where it cannot be traced.
        filters: Of the first convolution, or the templates of a first linear layer.
        missing: What could not be found out, and why: ``data``, ``baselines``,
            ``labels``, ``temperature``, ``reasons``, ``near_duplicates``, ``health``,
            ``layers``, ``filters``, ``part`` or ``repeats``, each with a sentence.
    """

    title: str
    spec: RunSpec
    history: tuple[dict[str, Any], ...]
    layers: Summary | None
    filters: Filters | None
    missing: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, sequences and None."""
        return {
            "title": self.title,
            "spec": self.spec.model_dump(mode="json"),
            "history": list(self.history),
            "missing": self.missing,
        }


@dataclass(frozen=True)
class RunReport(RunRecord):
    """What a run is worth, on which images, and where it fails.

    Attributes:
        evaluation: Figures with their intervals.
        answers: What the network said of each labeled image.
        baselines: What can be had without a network, on the same images.
        temperature: What would make the probabilities mean what they say, fit to
            validation images; None where there are none, or it is in use already.
        doubts: Labels of the judged images that are probably wrong.
        slices: Accuracy by brightness, contrast and, of files, size.
        pairs: Classes that are taken for each other, the most frequent first.
        near_duplicates: Pictures that look alike; None where they were not compared.
        reasons: Grad-CAM of the worst mistakes, for the class that they were called.
        health: Whether its layers work, over some of the judged images.
        data: What it was judged on.
        audit: What an audit of its folder found, where it is one.
        seconds: How long all this took.
    """

    evaluation: Evaluation
    answers: Answers
    baselines: tuple[Baseline, ...]
    temperature: Temperature | None
    doubts: tuple[LabelDoubt, ...]
    slices: tuple[Slice, ...]
    pairs: tuple[ConfusedPair, ...]
    near_duplicates: NearDuplicates | None
    reasons: Attribution | None
    health: Health | None
    data: Dataset
    audit: AuditReport | None
    seconds: float

    @property
    def findings(self) -> tuple[str, ...]:
        """What matters most, in sentences; at most three."""
        return tuple(
            said
            for said in (
                _worst_confusion(self.evaluation),
                self._most_doubtful(),
                self._seen_before(),
                _overconfidence(self.evaluation),
                self._weak_slice(),
            )
            if said
        )[:3]

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do next, the most useful first."""
        e, steps = self.evaluation, []
        if e.trained_on:
            steps.append("Judge it on images that it was not trained on.")
        elif e.doubt:
            how = "" if e.remedy is None else f", or {e.remedy.in_python()}"
            steps.append(f"Get more labeled images to judge it by{how}: {e.doubt}")
        if self.stronger:
            best = max(self.stronger, key=lambda b: b.accuracy)
            than = "as often as" if best.accuracy == e.accuracy else "more often than"
            steps.append(
                f"The method {best.name!r} is right {than} this network "
                f"({best.accuracy:.1%}): train longer, with more images, or from "
                "weights."
            )
        if len(self.doubts) > max(2, 0.01 * e.samples) and not self.stronger:
            steps.append(
                f"Look at the {len(self.doubts):,} labels that are probably wrong, the "
                "surest first; every one that is mended counts twice, in training and "
                "in judging."
            )
        if self.temperature is not None and self.temperature.error_before > 0.03:
            steps.append(
                f"Calibrate it: a temperature of {self.temperature.value:.2f}"
                f" takes the calibration error from {self.temperature.error_before:.1%}"
                f" to {self.temperature.error_after:.1%} on validation images."
            )
        weakest = min(
            (s for s in e.per_class if s.recall is not None and s.support >= 5),
            key=lambda s: s.recall or 0.0,
            default=None,
        )
        if weakest is not None and (weakest.recall or 0) < 0.9 * e.accuracy:
            steps.append(
                f"Add training images of {_quoted(weakest.name)}: "
                f"{weakest.recall:.0%} of its images are found, fewer than of any "
                "other class."
            )
        return tuple(steps)

    @property
    def stronger(self) -> tuple[Baseline, ...]:
        """Simple methods that are right as often, or more often."""
        accuracy = self.evaluation.accuracy
        return tuple(each for each in self.baselines if each.accuracy >= accuracy)

    @property
    def unseen(self) -> tuple[int, int]:
        """Correct and all of the judged images that look like no training image."""
        hits = self.answers.hits
        if self.near_duplicates is not None:
            own = [i not in set(self.near_duplicates.seen) for i in range(len(hits))]
            hits = hits[own]
        return int(hits.sum()), len(hits)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, sequences and None, without pixels."""
        names = self.answers.samples.names
        classes = self.answers.classes
        return {
            **super().to_dict(),
            "evaluation": self.evaluation.to_dict(),
            "baselines": [dataclasses.asdict(each) for each in self.baselines],
            "temperature": self.temperature and dataclasses.asdict(self.temperature),
            "doubts": [
                {
                    "image": str(names[doubt.index]),
                    "given": classes[doubt.given],
                    "suggested": classes[doubt.suggested],
                    "margin": doubt.margin,
                }
                for doubt in self.doubts
            ],
            "slices": [
                {**dataclasses.asdict(each), "accuracy": each.accuracy}
                for each in self.slices
            ],
            "pairs": [dataclasses.asdict(each) for each in self.pairs],
            "near_duplicates": self.near_duplicates and self.near_duplicates.to_dict(),
            "health": self.health and self.health.to_dict(),
            "audit": self.audit
            and [dataclasses.asdict(each) for each in self.audit.problems],
            "reasons": self.reasons and self.reasons.to_dict(),
            "findings": list(self.findings),
            "advice": list(self.advice),
            "seconds": self.seconds,
        }

    def _most_doubtful(self) -> str:
        if not self.doubts or self.stronger:
            return ""  # whom a simple method beats is no judge of labels
        count = len(self.doubts)
        worst = self.doubts[0]
        classes, names = self.answers.classes, self.answers.samples.names
        labels = "1 label is" if count == 1 else f"{count:,} labels are"
        return (
            f"{labels} probably wrong; the most doubtful: "
            f"{Path(str(names[worst.index])).name} is labeled "
            f"{_quoted(classes[worst.given])} and looks like "
            f"{_quoted(classes[worst.suggested])}."
        )

    def _weak_slice(self) -> str:
        weak = [
            s for s in self.slices
            if s.stands_out and s.accuracy < self.evaluation.accuracy
        ]  # fmt: skip
        if not weak:
            return ""
        worst = min(weak, key=lambda s: s.accuracy)
        return (
            f"It is right on {worst.accuracy:.1%} of the {worst.images:,} images with "
            f"{worst.quantity} from {worst.low:.3g} to {worst.high:.3g}, and on "
            f"{self.evaluation.accuracy:.1%} of all."
        )

    def _seen_before(self) -> str:
        found = self.near_duplicates
        if found is None or len(found.seen) < max(1, 0.01 * found.judged):
            return ""
        correct, images = self.unseen
        said = (
            f"{len(found.seen):,} of the {found.judged:,} images look like a training "
            "image"
        )
        if not images:
            return f"{said}."
        low, high = wilson(correct, images)
        return (
            f"{said}; of the others {correct / images:.1%} are called by their name "
            f"({low:.1%} to {high:.1%})."
        )


def _worst_confusion(e: Evaluation) -> str:
    if not e.confused:
        return f"Every one of the {e.samples:,} images is called by its name."
    count, i, j = e.confused[0]
    of = e.per_class[i].support
    return (
        f"The worst confusion: {count:,} of {of:,} images of "
        f"{_quoted(e.classes[i])} are called {_quoted(e.classes[j])}."
    )


def _overconfidence(e: Evaluation) -> str:
    bins = [b for b in e.calibration if b.count >= max(10, 0.01 * e.samples)]
    gaps = [
        (b.confidence - b.accuracy, b) for b in bins
        if b.confidence is not None and b.accuracy is not None
    ]  # fmt: skip
    if not gaps:
        return ""
    gap, worst = max(gaps, key=lambda pair: pair[0] * pair[1].count)
    if gap < 0.02:
        return ""
    return (
        f"It is overconfident: of the {worst.count:,} images of which it is "
        f"{worst.low:.0%} to {worst.high:.0%} sure, {worst.accuracy:.0%} are right."
    )


def _quoted(name: str) -> str:
    """A name within a sentence, cut where it is very long."""
    return f"'{name}'" if len(name) <= 48 else f"'{name[:47]}…'"
