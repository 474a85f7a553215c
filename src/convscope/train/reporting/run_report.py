"""Everything that a report says of a run, as one record."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from convscope.analysis import Attribution, attribute, summary
from convscope.analysis.render import Summary
from convscope.data import Dataset
from convscope.data.dataset import Samples
from convscope.data.progress import Progress
from convscope.errors import ConvscopeError
from convscope.train.judging.answers import Answers
from convscope.train.judging.baselines import Baseline, baselines
from convscope.train.judging.calibration import Temperature, fit_temperature
from convscope.train.judging.label_doubts import LabelDoubt, doubtful_labels
from convscope.train.judging.metrics import Evaluation
from convscope.train.judging.slices import Slice, measured, slices
from convscope.train.run import FoundData, Run
from convscope.train.spec import RunSpec

DOUBTS = 200  # labels in question that are kept
EXPLAINED = 24  # of the worst mistakes


@dataclass(frozen=True)
class RunReport:
    """What a run is worth, on which images, and where it fails.

    Attributes:
        title: Of the run: its folder's name, or model and data.
        spec: What was trained on what.
        history: One dictionary for each epoch.
        evaluation: Figures with their intervals.
        answers: What the network said of each labeled image.
        baselines: What can be had without a network, on the same images.
        temperature: What would make the probabilities mean what they say, fit to
            validation images; None where there are none, or it is in use already.
        doubts: Labels of the judged images that are probably wrong.
        slices: Accuracy by brightness, contrast and, of files, size.
        reasons: Grad-CAM of the worst mistakes, for the class that they were called.
        missing: What could not be found out, and why.
        data: What it was judged on.
        layers: The network's layers, counted; None where it cannot be traced.
        filters: (out, in, kH, kW) of the first convolution, if there is one.
        seconds: How long all this took.
    """

    title: str
    spec: RunSpec
    history: tuple[dict[str, Any], ...]
    evaluation: Evaluation
    answers: Answers
    baselines: tuple[Baseline, ...]
    temperature: Temperature | None
    doubts: tuple[LabelDoubt, ...]
    slices: tuple[Slice, ...]
    reasons: Attribution | None
    missing: tuple[str, ...]
    data: Dataset
    layers: Summary | None
    filters: npt.NDArray[np.float32] | None
    seconds: float

    @property
    def findings(self) -> tuple[str, ...]:
        """What matters most, in sentences; at most three."""
        return tuple(
            said
            for said in (
                _worst_confusion(self.evaluation),
                self._most_doubtful(),
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
        if len(self.doubts) > max(2, 0.01 * e.samples):
            steps.append(
                f"Look at the {len(self.doubts):,} labels that are probably wrong, the "
                "surest first; every one that is mended counts twice, in training and "
                "in judging."
            )
        beaten = [b for b in self.baselines if b.accuracy >= e.accuracy]
        if beaten:
            steps.append(
                f"The method {beaten[0].name!r} is as good: train longer, with more "
                "images, or from weights."
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
                f"Add training images of {weakest.name!r}: {weakest.recall:.0%} of its "
                "images are found, fewer than of any other class."
            )
        return tuple(steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, sequences and None, without pixels."""
        names = self.answers.samples.names
        classes = self.answers.classes
        return {
            "title": self.title,
            "spec": self.spec.model_dump(mode="json"),
            "history": list(self.history),
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
            "reasons": self.reasons and self.reasons.to_dict(),
            "findings": list(self.findings),
            "advice": list(self.advice),
            "missing": list(self.missing),
            "seconds": self.seconds,
        }

    def _most_doubtful(self) -> str:
        if not self.doubts:
            return ""
        count = len(self.doubts)
        worst = self.doubts[0]
        classes, names = self.answers.classes, self.answers.samples.names
        labels = "1 label is" if count == 1 else f"{count:,} labels are"
        return (
            f"{labels} probably wrong; the most doubtful: "
            f"{Path(str(names[worst.index])).name} is labeled "
            f"{classes[worst.given]!r} and looks like {classes[worst.suggested]!r}."
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


def report(
    run: Run,
    data: Dataset | str | Path | None = None,
    part: str | None = None,
    *,
    progress: Progress | None = None,
) -> RunReport:
    """Judges a run and finds out what a report says of it.

    Args:
        run: A trained network.
        data: What to judge it on; by default what it was trained on.
        part: As ``Run.evaluate`` takes it; by default the first of ``test``, ``val``
            and ``train`` that holds images.
        progress: Called with (done, in all, what) while images are judged.

    Raises:
        DataError: The part is empty, or none of its images has a label.
        ArgumentError: The run's data were arrays, and none are given.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=3, listeners=())
    >>> found = report(run)
    >>> found.evaluation.samples, [each.name for each in found.baselines]
    (359, ['majority class', 'nearest neighbor', 'linear on pixels'])
    """
    began = time.perf_counter()
    on = run.find_data(data, progress=progress)
    data, own = on.data, on.is_own
    in_folds = on.is_same and bool(run.fold_results) and part in (None, "folds")
    if part is None and own and not in_folds:
        part = data.part_to_judge
    answers = run.answers(on, part, progress=progress).labeled()
    evaluation = answers.evaluation()
    missing = []
    simple: list[Baseline] = []
    if not own:
        missing.append(
            "Simple methods beside it: they would have to learn from this run's own "
            "training images, and it was judged on other data."
        )
    elif in_folds:
        missing.append(
            "Simple methods beside it: they would have to be trained for each fold."
        )
    elif tuple(data.classes) == answers.classes:
        simple = baselines(data.train, answers.samples, seed=run.spec.recipe.seed)
    if in_folds and evaluation.folds is not None and evaluation.folds.repeats > 1:
        missing.append("Images as later repeats judged them; the figures are of all.")
    doubts: list[LabelDoubt] = []
    if answers.trained_on:
        missing.append(
            "Labels that are probably wrong: the network was trained on these very "
            "images and has learned their labels, wrong ones too."
        )
    else:
        doubts = doubtful_labels(answers.probabilities, answers.labels)[:DOUBTS]
    temperature, why = _temperature(run, on, answers)
    if why:
        missing.append(why)
    try:
        layers = summary(run.net, run.spec.input_shape)
    except ConvscopeError as error:
        layers = None
        missing.append(f"The table of its layers: {error}")
    reasons, why = _reasons(run, answers)
    if why:
        missing.append(why)
    quantities = measured(answers.samples)
    sizes = _sizes(answers.samples)
    if sizes is not None:
        quantities["size"] = sizes
    return RunReport(
        title=_title(run),
        spec=run.spec,
        history=tuple(run.history),
        evaluation=evaluation,
        answers=answers,
        baselines=tuple(simple),
        temperature=temperature,
        doubts=tuple(doubts),
        slices=tuple(slices(quantities, answers.hits)),
        reasons=reasons,
        missing=tuple(missing),
        data=data,
        layers=layers,
        filters=_first_filters(run),
        seconds=time.perf_counter() - began,
    )


def mistakes_csv(answers: Answers) -> str:
    """A line for each image that was called by another name, the surest first.

    >>> import torch
    >>> two = Samples(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), ["a", "b"])
    >>> found = Answers(two, np.array([[0.9, 0.1], [0.8, 0.2]]), ("cat", "dog"))
    >>> print(mistakes_csv(found), end="")
    image,true,predicted,probability,probability_of_true
    b,dog,cat,0.800000,0.200000
    """
    import csv
    import io

    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "true", "predicted", "probability", "probability_of_true"))
    p, labels, predicted = answers.probabilities, answers.labels, answers.predicted
    for i in answers.wrong:
        table.writerow(
            (
                answers.samples.names[i],
                answers.classes[labels[i]],
                answers.classes[predicted[i]],
                f"{p[i, predicted[i]]:.6f}",
                f"{p[i, labels[i]]:.6f}",
            )
        )
    return text.getvalue()


def _title(run: Run) -> str:
    if run.folder is not None:
        return Path(run.folder).resolve().name
    return f"{run.spec.model.name or type(run.net).__name__} on {run.spec.data.name}"


def _temperature(
    run: Run, on: FoundData, answers: Answers
) -> tuple[Temperature | None, str]:
    """What validation images ask for, and why it is not known where it is not."""
    if run.spec.temperature != 1.0:
        return None, ""
    if not on.is_own or not len(on.data.val):
        return None, (
            "The temperature that would mend its calibration: it is fit to validation "
            "images, and there are none here."
        )
    val = answers if answers.part == "val" else run.answers(on, "val").labeled()
    try:
        return fit_temperature(val.probabilities, val.labels), ""
    except ConvscopeError as error:
        return None, f"The temperature that would mend its calibration: {error}"


def _reasons(run: Run, answers: Answers) -> tuple[Attribution | None, str]:
    """What in the worst mistakes spoke for the wrong class; why not, where not."""
    worst = answers.wrong[:EXPLAINED]
    if not len(worst):
        return None, ""
    place = next(run.net.parameters()).device
    pixels = answers.samples.subset(worst).pixels.to(place)
    called = torch.from_numpy(answers.predicted[worst])
    try:
        inputs = run.spec.preprocessing.normalize(pixels)
        return attribute(run.classifier, inputs, called), ""
    except ConvscopeError as error:
        return None, f"What in the worst mistakes spoke for the wrong class: {error}"


def _first_filters(run: Run) -> npt.NDArray[np.float32] | None:
    for module in run.net.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 4 and weight.shape[-1] > 1:
            kernels: npt.NDArray[np.float32] = weight.detach().float().cpu().numpy()
            return kernels
    return None


def _sizes(samples: Samples) -> npt.NDArray[np.float64] | None:
    """The larger side of each picture's file in pixels, where all are files."""
    found = []
    for name in samples.names:
        try:
            with Image.open(name) as picture:  # reads the header only
                found.append(float(max(picture.size)))
        except (OSError, ValueError):
            return None
    return np.array(found)


def _worst_confusion(e: Evaluation) -> str:
    if not e.confused:
        return f"Every one of the {e.samples:,} images is called by its name."
    count, i, j = e.confused[0]
    of = e.per_class[i].support
    return (
        f"The worst confusion: {count:,} of {of:,} images of "
        f"{e.classes[i]!r} are called {e.classes[j]!r}."
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
