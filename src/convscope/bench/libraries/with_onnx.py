"""ONNX Runtime, which runs networks and does not train them."""

from typing import Any

import numpy as np
import onnxruntime


def versions() -> dict[str, str]:
    """Versions of the libraries that do the work."""
    return {"onnxruntime": onnxruntime.__version__}


class Implementation:
    """The exported network in a session; ``job["onnx"]`` is its file."""

    def __init__(self, job: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job["threads"]
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(job["onnx"], options)
        self.name = self.session.get_inputs()[0].name
        count = len(arrays["labels"]) // job["batch"]
        self.images = np.split(arrays["images"], count)

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """The logits of the first batch."""
        return 0.0, {"logits": self.session.run(None, {self.name: self.images[0]})[0]}

    def run(self, steps: int) -> None:
        """Does the work, and returns when it is done."""
        for index in range(steps):
            self.session.run(None, {self.name: self.images[index % len(self.images)]})
