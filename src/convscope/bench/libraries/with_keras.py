"""Keras 3 on the backend that ``KERAS_BACKEND`` names."""

from typing import Any

import keras
import numpy as np
from keras import layers


def versions() -> dict[str, str]:
    """Versions of the libraries that do the work."""
    backend = keras.backend.backend()
    library = __import__(backend)
    return {"keras": keras.__version__, backend: library.__version__}


class Implementation:
    """A plain chain of layers; (N, H, W, C), which is all that its CPU kernels take.

    Trained with ``train_on_batch``, compiled by Keras as it does by default.
    """

    def __init__(self, job: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.job, self.arrays = job, arrays
        count = len(arrays["labels"]) // job["batch"]
        images = np.ascontiguousarray(arrays["images"].transpose(0, 2, 3, 1))
        self.images = np.split(images, count)
        self.labels = np.split(arrays["labels"], count)
        self._start()

    def _start(self) -> None:
        self.names: list[tuple[str, str]] = []  # of a weight in torch, and its form
        channels, height, width = self.job["shape"]
        inputs = x = keras.Input((height, width, channels))
        values: list[np.ndarray] = []
        flat: tuple[int, ...] | None = None  # the map before the first linear layer
        for layer in self.job["layers"]:
            kind = layer["kind"]
            if kind == "conv":
                weight = self._take(layer, values, "conv", None)
                x = self._convolution(layer, weight, x)
            elif kind == "linear":
                weight = self._take(layer, values, "linear", flat)
                x, flat = layers.Dense(weight.shape[0])(x), None
            elif kind in ("max", "average"):
                pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
                x = pool[kind](layer["size"], layer["stride"])(x)
            elif kind == "flatten":
                flat = tuple(x.shape[1:])
                x = layers.Flatten()(x)
            else:
                x = layers.Activation(kind)(x)
        self.model = keras.Model(inputs, x)
        self.model.set_weights(values)
        self.model.compile(
            optimizer=keras.optimizers.SGD(self.job["learning_rate"], momentum=0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    def _take(
        self,
        layer: dict[str, Any],
        values: list[np.ndarray],
        kind: str,
        flat: tuple[int, ...] | None,
    ) -> np.ndarray:
        """Appends a layer's weights in Keras's form; returns torch's."""
        weight = self.arrays[f"w/{layer['weight']}weight"]
        if kind == "conv":
            values.append(weight.transpose(2, 3, 1, 0))
        elif flat is None:
            values.append(weight.T)
        else:  # columns go from (C, H, W) to (H, W, C)
            height, width, channels = flat
            maps = weight.reshape(-1, channels, height, width)
            values.append(maps.transpose(2, 3, 1, 0).reshape(-1, len(weight)))
        values.append(self.arrays[f"w/{layer['weight']}bias"])
        return weight

    def _convolution(self, layer: dict[str, Any], weight: np.ndarray, x: Any) -> Any:
        if np.any(layer["padding"]):
            x = layers.ZeroPadding2D(tuple(map(tuple, layer["padding"])))(x)
        return layers.Conv2D(weight.shape[0], weight.shape[2:], layer["stride"])(x)

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of the first batch; or the logits.

        Keras has no one way to a gradient for all its backends: the losses of the
        first steps stand for it.
        """
        if self.job["task"] == "forward":
            return 0.0, {"logits": self.model.predict_on_batch(self.images[0])}
        loss = float(self.model.test_on_batch(self.images[0], self.labels[0]))
        return loss, {}

    def losses(self, steps: int) -> list[float]:
        """The loss before each of the first ``steps`` updates."""
        found = []
        for index in range(steps):
            turn = index % len(self.images)
            self.model.reset_metrics()
            loss = self.model.train_on_batch(self.images[turn], self.labels[turn])
            found.append(float(loss))
        self._start()
        return found

    def run(self, steps: int) -> None:
        """Does the work, and returns when it is done."""
        for index in range(steps):
            turn = index % len(self.images)
            if self.job["task"] == "train":
                self.model.train_on_batch(self.images[turn], self.labels[turn])
            else:
                self.model.predict_on_batch(self.images[turn])
