"""JAX, the whole training step jitted: what a careful user of it writes."""

from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp


def versions() -> dict[str, str]:
    """Versions of the libraries that do the work."""
    return {"jax": jax.__version__}


class Implementation:
    """A plain chain of layers as pure functions; layout (N, C, H, W) as in torch."""

    def __init__(self, job: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.layers, self.rate = job["layers"], job["learning_rate"]
        self.task = job["task"]
        self.given = {k[2:]: jnp.asarray(a) for k, a in arrays.items() if k[:2] == "w/"}
        count = len(arrays["labels"]) // job["batch"]
        self.images = [jnp.asarray(a) for a in np.split(arrays["images"], count)]
        self.labels = [jnp.asarray(a) for a in np.split(arrays["labels"], count)]
        self.forward = jax.jit(self._logits)
        self.both = jax.jit(jax.value_and_grad(self._loss))
        self.update = jax.jit(self._update, donate_argnums=(0, 1))
        self._start()

    def _start(self) -> None:
        self.weights = {name: jnp.array(a) for name, a in self.given.items()}
        self.speed = {name: jnp.zeros_like(a) for name, a in self.given.items()}

    def _logits(self, weights: Any, x: Any) -> Any:
        for layer in self.layers:
            kind = layer["kind"]
            if kind == "conv":
                kernel = weights[layer["weight"] + "weight"]
                x = lax.conv_general_dilated(
                    x, kernel, layer["stride"], layer["padding"]
                )
                x = x + weights[layer["weight"] + "bias"][:, None, None]
            elif kind == "linear":
                x = x @ weights[layer["weight"] + "weight"].T
                x = x + weights[layer["weight"] + "bias"]
            elif kind in ("max", "average"):
                x = self._pool(layer, x)
            elif kind == "flatten":
                x = x.reshape(x.shape[0], -1)
            else:
                functions = {
                    "relu": jax.nn.relu,
                    "tanh": jnp.tanh,
                    "sigmoid": jax.nn.sigmoid,
                }
                x = functions[kind](x)
        return x

    def _pool(self, layer: dict[str, Any], x: Any) -> Any:
        size, stride = (
            (v, v) if isinstance(v, int) else tuple(v)
            for v in (layer["size"], layer["stride"])
        )
        window, steps = (1, 1, *size), (1, 1, *stride)
        if layer["kind"] == "max":
            return lax.reduce_window(x, -jnp.inf, lax.max, window, steps, "VALID")
        total = lax.reduce_window(x, 0.0, lax.add, window, steps, "VALID")
        return total / (size[0] * size[1])

    def _loss(self, weights: Any, x: Any, y: Any) -> Any:
        logs = jax.nn.log_softmax(self._logits(weights, x))
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    def _update(self, weights: Any, speed: Any, x: Any, y: Any) -> Any:
        loss, slope = jax.value_and_grad(self._loss)(weights, x, y)
        speed = jax.tree.map(lambda v, g: 0.9 * v + g, speed, slope)
        weights = jax.tree.map(lambda w, v: w - self.rate * v, weights, speed)
        return weights, speed, loss

    def _step(self, index: int) -> Any:
        turn = index % len(self.images)
        self.weights, self.speed, loss = self.update(
            self.weights, self.speed, self.images[turn], self.labels[turn]
        )
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of the first batch and what it is by every weight; or the logits."""
        if self.task == "forward":
            logits = self.forward(self.weights, self.images[0])
            return 0.0, {"logits": np.asarray(logits)}
        loss, slope = self.both(self.weights, self.images[0], self.labels[0])
        return float(loss), {name: np.asarray(g) for name, g in slope.items()}

    def losses(self, steps: int) -> list[float]:
        """The loss before each of the first ``steps`` updates."""
        found = [float(self._step(index)) for index in range(steps)]
        self._start()
        return found

    def run(self, steps: int) -> None:
        """Does the work, and returns when it is done."""
        last = None
        for index in range(steps):
            if self.task == "train":
                last = self._step(index)
            else:
                last = self.forward(self.weights, self.images[index % len(self.images)])
        jax.block_until_ready((last, self.weights))
