"""LeNet learns to read digits by plain loops alone, one image at a time.

The layers of the digit page, for images of 8 x 8 pixels. No autograd: the way back is
written out below the way there, in the opposite order.

Usage: python examples/lenet_by_hand.py FOLDER [UPDATES]
"""

import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import convscope as cs
from convscope.kernels import reference as by_hand

Array = NDArray[Any]
Arrays = dict[str, Array]

PASSES = 2  # over the training digits
SHAPES = {
    "conv1": (6, 1, 5, 5),   # (1, 8, 8) -> (6, 8, 8), pooled to (6, 4, 4)
    "conv2": (16, 6, 3, 3),  #           -> (16, 4, 4), pooled to (16, 2, 2)
    "full3": (120, 64),
    "full4": (100, 120),
    "full5": (10, 100),
}  # fmt: skip


def new_weights(rng: np.random.Generator) -> Arrays:
    """Random, so wide that ReLU keeps the size of what passes: variance 2 / inputs."""
    weights = {}
    for name, shape in SHAPES.items():
        deviation = math.sqrt(2 / math.prod(shape[1:]))
        weights[name] = deviation * rng.standard_normal(shape)
        weights[f"{name}.bias"] = np.zeros(shape[0])
    return weights


def forward(w: Arrays, images: Array) -> tuple[Array, Arrays]:
    """(N, 1, 8, 8) to (N, 10), and all that was found in between."""
    f: Arrays = {"x": images}
    f["c1"] = by_hand.correlation_forward(
        images, w["conv1"], w["conv1.bias"], padding=2
    )
    f["p1"], f["won1"] = by_hand.max_pooling_forward(by_hand.relu_forward(f["c1"]), 2)
    f["c2"] = by_hand.correlation_forward(
        f["p1"], w["conv2"], w["conv2.bias"], padding=1
    )
    f["p2"], f["won2"] = by_hand.max_pooling_forward(by_hand.relu_forward(f["c2"]), 2)
    f["flat"] = f["p2"].reshape(len(images), -1)
    f["z3"] = by_hand.fully_connected_forward(f["flat"], w["full3"], w["full3.bias"])
    f["a3"] = by_hand.relu_forward(f["z3"])
    f["z4"] = by_hand.fully_connected_forward(f["a3"], w["full4"], w["full4.bias"])
    f["a4"] = by_hand.relu_forward(f["z4"])
    logits = by_hand.fully_connected_forward(f["a4"], w["full5"], w["full5.bias"])
    return logits, f


def backward(w: Arrays, f: Arrays, grad: Array) -> Arrays:
    """The gradient for the logits to the gradients for all weights."""
    g: Arrays = {}

    def full(name: str, grad: Array, x: Array) -> Array:
        to_x, g[name], g[f"{name}.bias"] = by_hand.fully_connected_backward(
            grad, x, w[name]
        )
        return to_x

    def conv(name: str, grad: Array, x: Array, padding: int) -> Array:
        to_x, g[name], g[f"{name}.bias"] = by_hand.correlation_backward(
            grad, x, w[name], padding=padding
        )
        return to_x

    grad = full("full5", grad, f["a4"])
    grad = full("full4", by_hand.relu_backward(grad, f["z4"]), f["a3"])
    grad = full("full3", by_hand.relu_backward(grad, f["z3"]), f["flat"])
    grad = by_hand.max_pooling_backward(grad.reshape(f["p2"].shape), f["won2"], (4, 4))
    grad = conv("conv2", by_hand.relu_backward(grad, f["c2"]), f["p1"], padding=1)
    grad = by_hand.max_pooling_backward(grad, f["won1"], (8, 8))
    conv("conv1", by_hand.relu_backward(grad, f["c1"]), f["x"], padding=2)
    return g


def main(folder: Path, updates: int | None = None) -> None:
    """Learns from the training digits; prints the share of the test digits it reads."""
    digits, rng = cs.data.load("digits"), np.random.default_rng(0)
    x, labels = digits.train.pixels.numpy() / 255, digits.train.labels.numpy()
    weights = new_weights(rng)
    velocity = {name: np.zeros_like(weight) for name, weight in weights.items()}
    order = np.concatenate([rng.permutation(len(x)) for _ in range(PASSES)])[:updates]
    losses, start = [], time.process_time()
    for step, n in enumerate(order):
        logits, found = forward(weights, x[n : n + 1])
        loss, p = by_hand.cross_entropy_forward(logits, labels[n : n + 1])
        grad = by_hand.cross_entropy_backward(p, labels[n : n + 1])
        rate = 0.003 * (1 - step / len(order))  # one image alone pulls hard: calm down
        for name, slope in backward(weights, found, grad).items():
            weights[name], velocity[name] = by_hand.gradient_descent_update(
                weights[name], slope, velocity[name], learning_rate=rate, momentum=0.9
            )
        losses.append(loss)
    seconds = time.process_time() - start
    print(f"{len(order)} updates, {1000 * seconds / len(order):.0f} ms of CPU for each")
    print(f"mean loss of the last 50: {np.mean(losses[-50:]):.2f}")
    logits, _ = forward(weights, digits.test.pixels.numpy() / 255)
    right = logits.argmax(axis=1) == digits.test.labels.numpy()
    print(f"reads {right.sum()} of {len(right)} test digits: {right.mean():.1%}")
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "weights.npz", **weights)  # type: ignore[arg-type]  # names


if __name__ == "__main__":
    main(Path(sys.argv[1]), *[int(number) for number in sys.argv[2:3]])
