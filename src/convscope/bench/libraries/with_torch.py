"""PyTorch as it is by default, with settings made by hand, compiled, and ours."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

import convscope
from convscope.bench.networks import build
from convscope.execution import Optimized, WholeStep, choose, whole_step
from convscope.train.training.sgd import SGD
from convscope.train.training.step import TrainingStep


def versions() -> dict[str, str]:
    """Versions of the libraries that do the work."""
    return {"torch": torch.__version__, "convscope": convscope.__version__}


class Implementation:
    """One network, one way of running it.

    ``job["variant"]`` is made of the words ``channels_last``, ``bfloat16``, ``fused``
    (the optimizer), ``allocator``, ``compile`` and ``ours``, with ``float32`` if it may
    take no other format.
    """

    def __init__(self, job: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        torch.set_num_threads(job["threads"])
        self.words = set(job["variant"])
        self.job = job
        self.weights = {
            name[2:]: torch.from_numpy(a)
            for name, a in arrays.items()
            if name.startswith("w/")
        }
        self.layout = (
            torch.channels_last
            if "channels_last" in self.words
            else torch.contiguous_format
        )
        images = torch.from_numpy(arrays["images"]).split(job["batch"])
        self.images = [part.to(memory_format=self.layout) for part in images]
        self.labels = torch.from_numpy(arrays["labels"]).split(job["batch"])
        if "allocator" in self.words:
            convscope.execution.keep_freed_memory()
        self._start()

    def _start(self) -> None:
        """The network with the weights given, as on the first step."""
        net = build(self.job["network"], self.job["shape"], self.job["options"])
        net.load_state_dict(self.weights)
        self.net = net.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.net.train(self.job["task"] == "train")
        self.call: Callable[[Tensor], Tensor] = self.net
        whole: WholeStep | None = None
        if "ours" in self.words:
            whole = self._start_ours()
        if "compile" in self.words:
            self.call = torch.compile(self.net)
        self.optimizer: SGD | torch.optim.SGD = torch.optim.SGD(
            self.net.parameters(),
            lr=self.job["learning_rate"],
            momentum=0.9,
            fused=True if "fused" in self.words else None,
        )
        if "ours" in self.words:
            group = {"params": list(self.net.parameters()), "weight_decay": 0.0}
            rate = self.job["learning_rate"]
            self.optimizer = SGD([group], lr=rate, momentum=0.9)
        self.step = TrainingStep(self.net, self._logits, self.optimizer, whole=whole)

    def _start_ours(self) -> WholeStep | None:
        """As ``fit`` runs a network."""
        shape, training = self.job["shape"], self.job["task"] == "train"
        setting = choose(
            self.net,
            shape,
            device="cpu",
            precision="float32" if "float32" in self.words else "auto",
            batch_size=self.job["batch"],
            training=training,
        )
        self.call = Optimized(setting.place(self.net), setting)
        return whole_step(self.net, setting, shape) if training else None

    def _logits(self, images: Tensor) -> Tensor:
        if "bfloat16" not in self.words:
            return self.call(images)
        with torch.autocast("cpu", torch.bfloat16):
            return self.call(images).float()

    def _step(self, index: int) -> Tensor:
        turn = index % len(self.images)
        loss = self.step.loss(self.images[turn], self.labels[turn])
        self.step.update(loss)
        return loss

    def gradients(self) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of the first batch and what it is by every weight; or the logits."""
        if self.job["task"] == "forward":
            with torch.inference_mode():
                logits = self._logits(self.images[0])
            return 0.0, {"logits": logits.float().numpy()}
        loss = self.step.loss(self.images[0], self.labels[0])
        self.step.backward(loss)
        found = {
            name: parameter.grad.float().contiguous().numpy().copy()
            for name, parameter in self.net.named_parameters()
            if parameter.grad is not None
        }
        self._start()
        return loss.item(), found

    def losses(self, steps: int) -> list[float]:
        """The loss before each of the first ``steps`` updates."""
        found = [self._step(index).item() for index in range(steps)]
        self._start()
        return found

    def run(self, steps: int) -> None:
        """Does the work, and returns when it is done."""
        if self.job["task"] == "train":
            for index in range(steps):
                self._step(index)
            return
        with torch.inference_mode():
            for index in range(steps):
                self._logits(self.images[index % len(self.images)])
