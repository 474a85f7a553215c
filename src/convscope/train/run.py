"""A run: a trained network together with everything needed to use it."""

import html
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convscope.data import Dataset, load
from convscope.data.dataset import Samples, SetAside
from convscope.data.folds import foldable, pooled, with_validation
from convscope.data.progress import Progress
from convscope.errors import ArgumentError, Remedy, RunError
from convscope.execution import Setting, choose_device
from convscope.train.classification import MainOutput
from convscope.train.fastest_setting import judging_setting
from convscope.train.film import TrainingFilm, read_film
from convscope.train.fold_results import (
    FoldResult,
    read_results,
    require_complete,
    write_result,
)
from convscope.train.judging import inference
from convscope.train.judging.answers import Answers
from convscope.train.judging.calibration import Temperature, fit_temperature
from convscope.train.judging.fold_figures import answers_in_folds, judged_in_folds
from convscope.train.judging.metrics import Evaluation
from convscope.train.judging.prediction import Failure, Prediction, predict_files
from convscope.train.not_finite import bad_weight
from convscope.train.rebuilding import build_network, require_fitting
from convscope.train.recipe import Tta
from convscope.train.run_folder import RunFolder
from convscope.train.spec import RunSpec


@dataclass(frozen=True)
class FoundData:
    """Data, and what they are to a run.

    Attributes:
        data: In the run's parts, if they are its own.
        is_same: Whether they are, to the last pixel, what the run was trained on.
        is_own: Whether they are that, or come from where it came from.
    """

    data: Dataset
    is_same: bool
    is_own: bool


class Run:
    """What ``fit`` returns and ``Run.load`` reads.

    Attributes:
        net: The network, with its final weights.
        spec: What it is: model, classes, preprocessing, recipe, data.
        history: One dictionary for each epoch: losses, accuracy, speed.
        set_aside: Files of the data that could not be used.
        folder: Where it lies on disk, if it does.
        device: Where it evaluates and predicts; by default where it was trained.
        optimize: Whether the fastest setting is measured for that; by default as in
            training.
        unfinished: Which checkpoint the weights are from, as a sentence, where
            training is not through; else empty.
        fold_results: What the networks of a cross-validation said of images that they
            had not seen, if the run was cross-validated.

    >>> from convscope.train import fit
    >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
    >>> run.spec.model.name, len(run.history)
    ('softmax_regression', 1)
    """

    def __init__(
        self,
        net: nn.Module,
        spec: RunSpec,
        history: Sequence[dict[str, Any]] = (),
        set_aside: Sequence[SetAside] = (),
        folder: Path | None = None,
        data: Dataset | None = None,
        device: str | None = None,
        optimize: bool | None = None,
        unfinished: str = "",
        fold_results: Sequence[FoldResult] = (),
    ) -> None:
        self.net, self.spec, self.folder = net, spec, folder
        self.history, self.set_aside = list(history), tuple(set_aside)
        self._data = data
        self.device = device or spec.recipe.device
        self.unfinished = unfinished
        self.optimize = optimize
        self.fold_results = tuple(fold_results)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        net: nn.Module | None = None,
        *,
        device: str | None = None,
        optimize: bool | None = None,
    ) -> "Run":
        """Reads a run folder; of a run that is not through, its last checkpoint.

        Args:
            folder: What ``convscope train`` or ``Run.save`` made.
            net: The network, if it is not one of ours; it gets the run's weights.
            device: Where to run it, if not on the device that its recipe names.
            optimize: Whether to measure the fastest setting, if not as in training.

        Raises:
            RunError: No run, one without weights, or one whose files do not fit.
        """
        place = RunFolder.open(folder)
        spec = place.spec
        unfinished = "" if place.is_finished else place.require_checkpoint()
        shapes = (
            place.checkpoint_shapes() or {} if unfinished else place.weight_shapes()
        )
        place.require_intact(spec)
        if net is None:
            net = build_network(spec, shapes, place.path)
        else:
            require_fitting(
                shapes, net, spec.model.name or type(net).__name__, place.path
            )
        net.load_state_dict(
            place.checkpoint_weights() if unfinished else place.weights()
        )
        fault = bad_weight(net)
        if fault is not None:
            raise RunError(
                f"run {place.path}: {fault}.",
                remedies=[Remedy("train again", "force", True)],
            )
        net.eval()
        results: list[FoldResult] = []
        if spec.folds is not None:
            results = read_results(place.path, len(spec.classes))
            require_complete(results, spec.folds.folds, spec.folds.repeats, place.path)
        found = (place.history(), place.set_aside(), place.path)
        options: Any = {"device": device, "optimize": optimize}
        return cls(
            net, spec, *found, **options, unfinished=unfinished, fold_results=results
        )

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes a run folder, whole or not at all, and returns its path.

        >>> import tempfile
        >>> from convscope.train import fit
        >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
        >>> place = run.save(Path(tempfile.mkdtemp(), "run"))
        >>> Run.load(place).spec == run.spec
        True
        """
        place = RunFolder.create(folder, self.spec, self.set_aside, force=force)
        with place.locked():
            place.write_history(self.history)
            self.write_folds(place)
            place.finish(dict(self.net.state_dict()), self.spec.kept_epoch)
        self.folder, self.spec = place.path, place.spec
        return place.path

    def write_folds(self, place: RunFolder) -> None:
        """Writes what a cross-validation found, predictions and figures."""
        if not self.fold_results:
            return
        for result in self.fold_results:
            write_result(place.path, result)
        place.write_figures(self.evaluate().to_dict())

    def data(self) -> Dataset:
        """The data that the run was trained on, loaded again if need be.

        Raises:
            ArgumentError: It was made from arrays and cannot be found by name.
        """
        if self._data is None:
            if not self.spec.data.source:
                raise ArgumentError(
                    f"run {self.folder}: its data were arrays, which are not stored. "
                    "Pass the data to evaluate on."
                )
            self._data = self.load_data(self.spec.data.source)
        return self._data

    def film(self) -> TrainingFilm:
        """Filters and maps epoch by epoch, where training kept them.

        Raises:
            RunError: It kept none, or the run lies nowhere.
        """
        if self.folder is None:
            raise RunError("this run lies in no folder, so there is no film of it.")
        return read_film(self.folder)

    def load_data(self, source: str | Path, **options: Any) -> Dataset:
        """Loads any data with this run's preprocessing."""
        own = self.spec.data.source
        same = str(source) == own or (bool(own) and _same_place(source, own))
        options = {**(self.spec.data.options if same else {}), **options}
        preprocessing = self.spec.preprocessing
        found = load(source, preprocessing=preprocessing, **options)
        return (self.as_trained(found) if same else found).replace(
            preprocessing=preprocessing
        )

    def as_trained(self, data: Dataset) -> Dataset:
        """The run's own data in the parts that the run has made of them."""
        if self.spec.folds is None:
            return data
        return with_validation(pooled(data), self.spec.folds.validation)

    def evaluate(
        self,
        data: Dataset | str | Path | None = None,
        part: str | None = None,
        *,
        tta: Tta | None = None,
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> Evaluation:
        """How good the network is on one part of ``data``, by default its own.

        Of a cross-validated run, by default the figures of its folds.

        Args:
            data: Its classes are matched to the run's by name.
            part: ``train``, ``val``, ``test`` or ``all``; by default ``test``, and all
                of a plain folder that the run was not trained on; ``folds`` of a
                cross-validated run.
            tta: Changed copies of each image to average over, as ``probabilities``
                takes it; by default what the recipe says.
            batch_size: Images at a time.
            progress: Called with (done, in all, what) while data load and images run.

        Raises:
            DataError: The part is empty, or holds classes that the run never saw.

        >>> from convscope.train import fit
        >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
        >>> run.evaluate(part="val").part
        'val'
        """
        if data is None and self.fold_results and part in (None, "folds"):
            return self._in_folds()  # no image is needed for it
        return self.answers(
            data, part, tta=tta, batch_size=batch_size, progress=progress
        ).evaluation()

    def answers(
        self,
        data: "Dataset | FoundData | str | Path | None" = None,
        part: str | None = None,
        *,
        tta: Tta | None = None,
        batch_size: int = 256,
        progress: Progress | None = None,
    ) -> Answers:
        """What the network says of each image of one part; arguments as ``evaluate``.

        Of a cross-validated run, by default what the networks of its folds said.

        Raises:
            DataError: The part is empty, or holds classes that the run never saw.

        >>> from convscope.train import fit
        >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
        >>> run.answers(part="val").probabilities.shape
        (179, 10)
        """
        found = self.find_data(data, progress=progress)
        data, is_same, own = found.data, found.is_same, found.is_own
        if self.spec.folds is not None and is_same and part in (None, "folds"):
            seed, how = self.spec.recipe.seed, self.spec.folds
            return answers_in_folds(
                self.fold_results, pooled(data), how.folds, seed, self._in_folds()
            )
        samples, part, notes = inference.choose_part(data, part, own=own)
        if not own:
            notes += data.notes
        elif not is_same:
            notes += (
                f"{data.name} has changed since this run: images that it was trained "
                "on may be among these.",
            )
        samples = inference.relabel(samples, data.classes, self.spec.classes, data.name)
        rows = inference.probabilities(
            self.classifier,
            samples,
            self.spec.preprocessing,
            self._setting(),
            batch_size=batch_size,
            tta=tta or self.spec.recipe.tta,
            temperature=self.spec.temperature,
            progress=progress,
        )
        if self.unfinished:
            notes += (self.unfinished,)
        seen = own and part in ("train", "all")
        more = own and not seen and not self.spec.folds
        return Answers(
            samples, rows.double().numpy(), self.spec.classes, data.name, part, notes,
            trained_on=seen, foldable=foldable(data, len(samples)) if more else None,
        )  # fmt: skip

    def calibrate(
        self, data: Dataset | None = None, part: str = "val", **options: Any
    ) -> Temperature:
        """Makes probabilities mean what they say; no answer changes, only how sure.

        The temperature is kept in the run, on disk too, and used from now on.

        Args:
            data: By default the run's own.
            part: Images that neither trained the network nor will judge it.
            options: As ``answers`` takes them.

        Raises:
            DataError: The part is empty, or none of its images has a label.

        >>> from convscope.train import fit
        >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
        >>> found = run.calibrate()
        >>> found.error_after < found.error_before, run.spec.temperature == found.value
        (True, True)
        """
        before = self.spec
        self.spec = before.model_copy(update={"temperature": 1.0})
        try:
            known = self.answers(data, part, **options).labeled()
            found = fit_temperature(known.probabilities, known.labels)
        except BaseException:
            self.spec = before
            raise
        self.spec = before.model_copy(update={"temperature": found.value})
        if self.folder is not None:
            place = RunFolder.open(self.folder)
            with place.locked():
                place.write_spec(self.spec)
        return found

    def find_data(
        self,
        data: "Dataset | FoundData | str | Path | None" = None,
        *,
        progress: Progress | None = None,
    ) -> "FoundData":
        """The data to judge on, and what they are to the run; every pixel is hashed.

        Args:
            data: By default the run's own; what was found before comes back as it is.
            progress: Called with (done, in all, what) while data load.
        """
        if isinstance(data, FoundData):
            return data
        if data is None:
            data = self.data()
        elif not isinstance(data, Dataset):
            data = self.load_data(data, progress=progress)
        data, is_same = self.recognized(data)
        source = self.spec.data.source
        return FoundData(data, is_same, is_same or (data.source == source != ""))

    def recognized(self, data: Dataset) -> tuple[Dataset, bool]:
        """The data, in the run's parts if they are its own; whether they are."""
        wanted = self.spec.data.fingerprint
        if data.fingerprint() == wanted:
            return data, True
        if self.spec.folds is not None:
            again = self.as_trained(data)
            if again.fingerprint() == wanted:
                return again, True
        return data, False

    def _in_folds(self) -> Evaluation:
        """The figures of the cross-validation."""
        spec, notes = self.spec, (self.unfinished,) if self.unfinished else ()
        return judged_in_folds(self.fold_results, spec.classes, spec.data.name, notes)

    def probabilities(self, samples: Samples, *, batch_size: int = 256) -> Tensor:
        """What the network says of images in the form of its inputs.

        Shape:
            return: (N, K) float32, on the CPU

        >>> from convscope.train import fit
        >>> run = fit("softmax_regression", "digits", epochs=1, listeners=())
        >>> run.probabilities(run.data().test).shape
        torch.Size([359, 10])
        """
        return inference.probabilities(
            self.classifier,
            samples,
            self.spec.preprocessing,
            self._setting(),
            batch_size=batch_size,
            tta=self.spec.recipe.tta,
        )

    @property
    def classifier(self) -> nn.Module:
        """The network, seen by the output that is for the classes."""
        if self.spec.model.output is None:
            return self.net
        return MainOutput(self.net, self.spec.heads)

    def _setting(self) -> Setting:
        recipe = self.spec.recipe
        try:
            choose_device(self.device)
        except ArgumentError as error:
            if self.device != recipe.device:
                raise  # whoever asked for it knows where it came from
            raise RunError(
                f"run {self.folder}: {error.what}",
                remedies=[Remedy("run it elsewhere", "device", "cpu")],
            ) from None
        return judging_setting(
            self.classifier,
            self.spec.input_shape,
            device=self.device,
            precision=recipe.precision,
            optimize=recipe.optimize if self.optimize is None else self.optimize,
        )

    def predict(
        self, paths: Sequence[str | Path] | str | Path, **options: Any
    ) -> Iterator[Prediction | Failure]:
        """Classes of image files, one record each, as they come.

        Args:
            paths: Files, folders or globs.
            options: As ``predict_files`` takes them: ``top_k``, ``tta``,
                ``batch_size``, ``progress``; ``tta`` is the recipe's by default.
        """
        if self.unfinished:
            warnings.warn(self.unfinished, stacklevel=2)
        many = [paths] if isinstance(paths, str | Path) else paths
        return predict_files(
            self.classifier,
            self.spec.preprocessing,
            self.spec.classes,
            many,
            self._setting(),
            temperature=self.spec.temperature,
            **{"tta": self.spec.recipe.tta, **options},
        )

    def __repr__(self) -> str:
        spec, last = self.spec, (self.history or [{}])[-1]
        accuracy = last.get("val_accuracy")
        shown = "" if accuracy is None else f", val accuracy {accuracy:.2%}"
        return (
            f"Run({spec.model.name or type(self.net).__name__} on {spec.data.name}, "
            f"{last.get('epoch', 0)} epochs{shown})"
        )

    def _repr_html_(self) -> str:
        columns = ("epoch", "train_loss", "val_loss", "val_accuracy", "seconds")
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{_cell(row.get(c))}</td>" for c in columns) + "</tr>"
            for row in self.history[-10:]
        )
        return (
            f"<p><b>{html.escape(repr(self))}</b></p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _same_place(one: str | Path, other: str | Path) -> bool:
    """Whether two paths lead to the same folder, however they are written."""
    return Path(one).exists() and Path(one).resolve() == Path(other).resolve()


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
