"""Pictures to choose from: those the run was judged on, and its mistakes."""

import io
import threading
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from convscope.data.dataset import Samples
from convscope.errors import ArgumentError, ConvscopeError
from convscope.serve.subject import Subject
from convscope.train.judging import inference
from convscope.train.judging.answers import Answers
from convscope.train.run import Run

KINDS = {"test": "Test images", "mistakes": "Mistakes"}
SIDE = 48  # pixels of a thumbnail


class Examples:
    """Images of a run's own data with what the network says of them.

    Those that are shown are judged as they are shown; all of them, once, only when
    the mistakes are asked for.

    Args:
        subject: Whose run.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._lock = threading.Lock()
        self._answers: Answers | None = None
        self._samples: Samples | None = None

    def samples(self) -> Samples:
        """Those that the run is judged on.

        Raises:
            ArgumentError: The run's data cannot be had; says why.
        """
        run = self._run()
        if run.spec.folds is not None:  # each image by the network that never saw it
            return self.answers().samples
        with self._lock:
            if self._samples is None:
                try:
                    found = run.find_data()
                    data = found.data
                    part, _, _ = inference.choose_part(data, None, own=found.is_own)
                    self._samples = inference.relabel(
                        part, data.classes, self.subject.classes, data.name
                    )
                except ConvscopeError as error:
                    raise _without_pictures(error) from error
            return self._samples

    def answers(self) -> Answers:
        """What the network says of each; the first call judges all of them.

        Raises:
            ArgumentError: The run's data cannot be had; says why.
        """
        with self._lock:
            if self._answers is None:
                try:
                    self._answers = self._run().answers()
                except ConvscopeError as error:
                    raise _without_pictures(error) from error
            return self._answers

    def _run(self) -> Run:
        if self.subject.run is None:
            raise ArgumentError(
                f"play: {self.subject.title} is of no run, so it has no pictures to "
                "choose from."
            )
        return self.subject.run

    def listed(self, kind: str, start: int, count: int) -> dict[str, Any]:
        """Some of them, and how many there are."""
        if kind not in KINDS:
            raise ArgumentError(
                f"play: kind={kind[:20]!r} is neither test nor mistakes."
            )
        found = self.samples()
        places = self._mistakes if kind == "mistakes" else np.arange(len(found))
        shown = places[start : start + count]
        rows = self._probabilities(found.subset(shown))
        return {
            "count": len(places),
            "examples": [
                {
                    "id": int(i),
                    "name": str(found.names[i]),
                    "label": int(found.labels[i]) if found.labels[i] >= 0 else None,
                    "guess": int(row.argmax()),
                    "probability": float(row.max()),
                }
                for i, row in zip(shown, rows, strict=True)
            ],
        }

    def _probabilities(self, samples: Samples) -> npt.NDArray[np.float64]:
        subject = self.subject
        if not len(samples):
            return np.empty((0, len(subject.classes)))
        rows = inference.probabilities(
            subject.net, samples, subject.preprocessing,
            tta=self._run().spec.recipe.tta, temperature=subject.temperature,
        )  # fmt: skip
        found: npt.NDArray[np.float64] = rows.double().numpy()
        return found

    @cached_property
    def _mistakes(self) -> npt.NDArray[np.intp]:
        """The most confident first."""
        found = self.answers()
        wrong = np.flatnonzero((found.predicted != found.labels) & (found.labels >= 0))
        order = np.argsort(-found.probabilities[wrong].max(axis=1), kind="stable")
        return wrong[order]

    def pixels(self, number: int) -> npt.NDArray[np.generic]:
        """(C, H, W) of one image.

        Raises:
            ArgumentError: There is no such image.
        """
        samples = self.samples()
        if not 0 <= number < len(samples):
            raise ArgumentError(f"play: there is no example {number}.")
        found: npt.NDArray[np.generic] = samples.pixels[number].numpy()
        return found

    def thumbnail(self, number: int) -> bytes:
        """One image as a small PNG."""
        pixels = self.pixels(number)
        wide = pixels.dtype == np.uint16
        scaled = np.rint(pixels.astype(np.float32) / (257 if wide else 1))
        array = np.moveaxis(scaled.astype(np.uint8), 0, -1)
        image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
        how = Image.Resampling.NEAREST if image.width < SIDE else Image.Resampling.BOX
        made = io.BytesIO()
        image.resize((SIDE, SIDE), how).save(made, "png")
        return made.getvalue()


def _without_pictures(error: ConvscopeError) -> ArgumentError:
    return ArgumentError(f"play: there are no pictures to choose from: {error}")
