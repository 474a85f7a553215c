"""The training loop: steps, epochs, and everything a checkpoint must hold."""

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convscope.data.batching.batches import Batch, Batches, plain
from convscope.data.dataset import Dataset
from convscope.errors import NotFiniteError, Remedy, TrainingError
from convscope.execution import Optimized, Setting, give_back, whole_step
from convscope.train.checkpoint import Checkpoint
from convscope.train.classification import Heads, class_weights
from convscope.train.judging.feature_layer import before_last_linear
from convscope.train.judging.features import features
from convscope.train.not_finite import bad_weight, first_fault
from convscope.train.recipe import Recipe
from convscope.train.training.events import (
    EpochEnded,
    Event,
    Finished,
    Started,
    Stepped,
)
from convscope.train.training.held_layers import (
    HeldLayers,
    require_something_to_train,
)
from convscope.train.training.linear_head import fit_linear_head
from convscope.train.training.lookahead import Lookahead
from convscope.train.training.optimizer import Optimizer
from convscope.train.training.schedule import rate
from convscope.train.training.step import TrainingStep, key_generators

# Steps between two looks at the loss on a device that works ahead: each look waits.
LOOK_EVERY = 16
SHOWN = 5000  # training images that layers may look at before the first step
BEGINS_ON = 10_000  # training images that a last layer is fitted to before all layers


@dataclass
class Position:
    """How far training is: what a checkpoint holds besides tensors."""

    epoch: int = 0  # epochs done
    batch: int = 0  # batches of the epoch in work that are done
    step: int = 0  # steps done
    seconds: float = 0.0  # spent training, validation included
    loss_sum: float = 0.0  # over the images of the epoch in work
    images: int = 0  # of the epoch in work
    best_loss: float = math.inf
    best_epoch: int = 0  # of that loss
    kept_accuracy: float = 0.0
    kept_loss: float = math.inf
    kept_epoch: int = 0  # whose weights ``Training.best`` holds
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Loss:
    """The loss of a step, perhaps still on its way from the device."""

    loss: Tensor
    images: int
    step: int  # done before it
    batch: int


class Training:
    """One training, step by step; iterate over ``run()``.

    Args:
        net: Changed in place; holds the final weights when ``run`` is through.
        data: Its ``train`` part is fitted, its ``val`` part watched.
        recipe: How.
        setting: Where, and in which number format.
        heads: Which outputs are for the classes, where there are several.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Dataset,
        recipe: Recipe,
        setting: Setting,
        heads: Heads | None = None,
    ) -> None:
        self.net = setting.place(net)
        self.fast = Optimized(self.net, setting, same_dropout=True)
        self.data, self.recipe, self.setting = data, recipe, setting
        self.heads = heads or Heads()
        self.batches = training_batches(data, recipe, setting)
        require_something_to_train(self.net, recipe)
        self._held = HeldLayers(self.net, recipe)
        # Before the optimizer: the weights move to one place, and stay there.
        self._whole_step = whole_step(self.net, setting, data.input_shape)
        self.optimizer = Optimizer(self.net, recipe)
        self._one_step = TrainingStep(
            self.net,
            self.fast,
            self.optimizer,
            whole=self._whole_step,
            label_smoothing=recipe.label_smoothing,
            class_weights=class_weights(data, recipe, setting.device),
            clip_norm=recipe.clip_norm,
            heads=self.heads,
        )
        self.average = self._averaged() if recipe.ema else None
        self._fast_final = (
            self.fast if self.average is None else Optimized(self.final, setting)
        )
        self.lookahead = (
            Lookahead(self.net, recipe.lookahead) if recipe.lookahead else None
        )
        self.best: dict[str, Tensor] = {}
        self.known_features: np.ndarray | None = None  # of the training images
        self.position = Position()
        self._unseen: list[_Loss] = []
        self._look_every = LOOK_EVERY if setting.device.type == "cuda" else 1
        self._keeps_best = keeps_best(recipe, data)
        needs = "patience" if recipe.patience is not None else ""
        needs = needs or ("keep='best'" if recipe.keep == "best" else "")
        if needs and not len(data.val):
            raise TrainingError(
                f"recipe: {needs} needs validation images to watch; there are none.",
                remedies=[
                    Remedy(f"leave out {needs}"),
                    Remedy("set aside a part for validation", "validation"),
                ],
            )

    def _averaged(self) -> AveragedModel:
        average = get_ema_multi_avg_fn(self.recipe.ema)
        return AveragedModel(self.net, multi_avg_fn=average, use_buffers=True)

    @property
    def final(self) -> nn.Module:
        """The network whose weights count: the average, if there is one."""
        return self.net if self.average is None else self.average.module

    def progress(self) -> float:
        """Part of the training that is done, 0 to 1."""
        if self.recipe.minutes is not None:
            return min(self.position.seconds / (60 * self.recipe.minutes), 1.0)
        return self.position.step / (self.recipe.epochs * len(self.batches))

    def run(self) -> Iterator[Event]:
        """Trains to the end, from wherever ``restore`` has put it.

        Raises:
            NotFiniteError: The loss became NaN or infinite; names step and layer.
        """
        recipe, position = self.recipe, self.position
        yield Started(
            len(self.data.train),
            len(self.data.val),
            sum(p.numel() for p in self.net.parameters()),
            len(self.batches),
            None if recipe.minutes else recipe.epochs,
            recipe.minutes,
            str(self.setting),
            position.epoch + 1,
            position.batch,
        )
        if position.step == 0:
            self._initialize_from_images()
            if recipe.start is not None or recipe.head_only:
                self._fit_last_layer()
        reason = self._why_over()
        seconds_before = position.seconds
        began, images = time.monotonic(), 0
        while reason is None:
            self.net.train()
            self._held.hold_statistics()
            for batch in self.batches.epoch(position.epoch, position.batch):
                self._step(batch)
                images += len(batch.indices)
                position.seconds = seconds_before + time.monotonic() - began
                speed = images / max(position.seconds - seconds_before, 1e-9)
                yield self._stepped(speed)
                if recipe.minutes is not None and self.progress() >= 1:
                    break
            yield self._end_epoch(seconds_before, began, images)
            reason = self._why_over()
        yield self._finish(reason)

    def _initialize_from_images(self) -> None:
        """Shows images to the layers that begin with what the data are like."""
        name = "initialize_from_images"
        layers = [m for m in self.net.modules() if hasattr(m, name)]
        if not layers:
            return
        images = self.data.train.pixels[:SHOWN].to(self.setting.device)
        for layer in layers:
            getattr(layer, name)(self.data.preprocessing.normalize(images))

    def _fit_last_layer(self) -> None:
        """Fits the last layer to what the others give, before all are trained."""
        place = before_last_linear(self.net)
        head: Any = self.net.get_submodule(place.name)
        if head.bias is None or not head.weight.requires_grad:
            return
        part, found, seed = self.data.train, self.known_features, self.recipe.seed
        if found is None:
            if len(part) > BEGINS_ON and not self.recipe.head_only:
                drawn = np.random.default_rng(seed).permutation(len(part))[:BEGINS_ON]
                part = part.subset(np.sort(drawn))
            pre = self.data.preprocessing
            found = features(self.net, part, pre, self.setting, layer=place)
        labels = part.labels.numpy()
        fitted = fit_linear_head(
            found,
            labels,
            len(self.data.classes),
            seed=seed,
            calibrate=self.recipe.head_only,
        )
        fitted.copy_into(head)
        if self.average is not None:
            self.average.module.load_state_dict(self.net.state_dict())
        if self.lookahead is not None:
            self.lookahead = Lookahead(self.net, self.recipe.lookahead)

    def _step(self, batch: Batch) -> None:
        """One step of the optimizer, and all that follows from it."""
        position = self.position
        self._key_generators()
        self.optimizer.set_rate(rate(self.recipe, self.progress()))
        loss = self._one_step.loss(batch.images, batch.targets)
        self._unseen.append(
            _Loss(loss.detach(), len(batch.indices), position.step, position.batch)
        )
        if len(self._unseen) >= self._look_every:
            self._look(batch)
        self._one_step.update(loss)
        if self.average is not None:
            self.average.update_parameters(self.net)
        position.step += 1
        if self.lookahead is not None:
            self.lookahead.after(position.step, self.progress())
        position.batch += 1

    def _look(self, batch: Batch | None = None) -> None:
        """Fetches the losses that nobody has seen, and refuses what is not finite.

        With ``batch``, the last of them is of a step that has not changed anything yet.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen:
            return
        for one, value in zip(
            unseen, torch.stack([one.loss for one in unseen]).tolist(), strict=True
        ):
            if not math.isfinite(value):
                self._refuse(one, value, batch)
            self.position.images += one.images
            self.position.loss_sum += value * one.images

    def _refuse(self, one: "_Loss", value: float, batch: Batch | None) -> None:
        position = self.position
        what = f"the loss became {value}"
        if batch is not None and one.step == position.step:
            # Before a reason is looked for, the same units drop out as just now.
            self._key_generators()
            raise NotFiniteError(self._explain(self.net, batch, what, ahead=1))
        raise NotFiniteError(
            f"{what} at step {one.step + 1} (epoch {position.epoch + 1}, batch "
            f"{one.batch + 1}). {self._remedy()}"
        )

    def _key_generators(self) -> None:
        key_generators(self.recipe.seed, self.position.step, self.setting.device)

    def _explain(
        self, net: nn.Module, batch: Batch, what: str, *, ahead: int = 0
    ) -> str:
        """Where and why; ``ahead`` is 1 if the step in question is not done yet."""
        position = self.position
        fault = first_fault(net, self.setting, batch.images)
        return (
            f"{what} at step {position.step + ahead} (epoch {position.epoch + 1}, "
            f"batch {position.batch + ahead}): {fault}. {self._remedy()}"
        )

    def _stepped(self, speed: float) -> Stepped:
        position = self.position
        mean = position.loss_sum / max(position.images, 1)
        return Stepped(
            position.epoch + 1,
            position.batch,
            position.step,
            mean,
            rate(self.recipe, self.progress()),
            self.progress(),
            speed,
            self._seconds_left(),
        )

    def _seconds_left(self) -> float:
        done = self.progress()
        if self.recipe.minutes is not None:
            return max(60 * self.recipe.minutes - self.position.seconds, 0.0)
        return self.position.seconds * (1 - done) / done if done else math.inf

    def _end_epoch(self, before: float, began: float, images: int) -> EpochEnded:
        position = self.position
        self._look()
        speed = images / max(time.monotonic() - began, 1e-9)
        self._require_finite()
        val_loss, val_accuracy = self._validate()
        position.seconds = before + time.monotonic() - began
        event = EpochEnded(
            position.epoch + 1,
            position.step,
            position.loss_sum / max(position.images, 1),
            val_loss,
            val_accuracy,
            rate(self.recipe, self.progress()),
            speed,
            position.seconds,
            self._seconds_left(),
        )
        position.epoch += 1
        position.batch, position.images, position.loss_sum = 0, 0, 0.0
        position.history.append(asdict(event))
        if val_loss is not None and val_accuracy is not None:
            self._remember_best(val_loss, val_accuracy)
        return event

    def _require_finite(self) -> None:
        """Refuses weights that the last step of an epoch spoiled: no loss shows it."""
        fault = bad_weight(self.final)
        if fault is not None:
            position = self.position
            raise NotFiniteError(
                f"after step {position.step}, the last of epoch {position.epoch + 1}, "
                f"{fault}. {self._remedy()}"
            )

    def _remedy(self) -> str:
        return f"Lower learning_rate={self.recipe.learning_rate:g}, or set clip_norm=1."

    def _validate(self) -> tuple[float | None, float | None]:
        """Loss and accuracy on the validation images."""
        val, net = self.data.val, self.final
        if not len(val):
            return None, None
        net.eval()
        loss, right = 0.0, 0
        batches = plain(
            val,
            self.data.preprocessing,
            max(self.recipe.batch_size, 256),
            self.setting.device,
            self.setting.memory_format,
        )
        with torch.inference_mode():
            for batch in batches:
                out = self.heads.main(self._fast_final(batch.images)).double()
                loss += F.cross_entropy(out, batch.targets, reduction="sum").item()
                if not math.isfinite(loss):
                    what = f"the val loss became {loss}"
                    raise NotFiniteError(self._explain(net, batch, what))
                right += int((out.argmax(1) == batch.targets).sum())
        return loss / len(val), right / len(val)

    def _remember_best(self, val_loss: float, val_accuracy: float) -> None:
        """The lowest loss, which patience waits for, and the weights to keep."""
        position = self.position
        if val_loss < position.best_loss:
            position.best_loss, position.best_epoch = val_loss, position.epoch
        better = (val_accuracy, -val_loss) > (
            position.kept_accuracy,
            -position.kept_loss,
        )
        if self._keeps_best and (better or not position.kept_epoch):
            position.kept_accuracy, position.kept_loss = val_accuracy, val_loss
            position.kept_epoch = position.epoch
            self.best = copy.deepcopy(dict(self.final.state_dict()))

    def _why_over(self) -> str | None:
        recipe, position = self.recipe, self.position
        if recipe.minutes is not None and self.progress() >= 1:
            return f"{recipe.minutes:g} minutes are over"
        if recipe.head_only:
            return "the last layer is fitted"
        if recipe.minutes is None and position.epoch >= recipe.epochs:
            return f"all {recipe.epochs} epochs are done"
        waited = position.epoch - position.best_epoch
        if recipe.patience is not None and position.epoch and waited >= recipe.patience:
            return f"no better val loss for {waited} epochs"
        return None

    def _finish(self, reason: str) -> Finished:
        position = self.position
        if self.lookahead is not None:
            self.lookahead.finish()
        self._held.release()
        weights = self.best or self.final.state_dict()
        self.net.load_state_dict(copy.deepcopy(dict(weights)))
        if self._whole_step is not None:
            self._whole_step.give_back()
        give_back(self.net)
        epochs, steps, seconds = position.epoch, position.step, position.seconds
        return Finished(reason, epochs, steps, seconds, self.kept_epoch)

    @property
    def kept_epoch(self) -> int | None:
        """Whose weights are the best so far; None if those are the last ones."""
        kept = self.position.kept_epoch
        return kept if self.best and kept != self.position.epoch else None

    def checkpoint(self) -> Checkpoint:
        """Everything that the rest of the training depends on."""
        self._look()
        tensors = {f"net/{n}": t for n, t in self.net.state_dict().items()}
        tensors |= {f"optimizer/{n}": t for n, t in self.optimizer.state().items()}
        if self.average is not None:
            tensors |= {f"average/{n}": t for n, t in self.average.state_dict().items()}
        if self.lookahead is not None:
            tensors |= {f"lookahead/{n}": t for n, t in self.lookahead.slow.items()}
        tensors |= {f"best/{n}": t for n, t in self.best.items()}
        values = asdict(self.position)
        for name in ("best_loss", "kept_loss"):
            if math.isinf(values[name]):
                values[name] = None  # JSON has no infinity
        return Checkpoint(
            tensors,
            {
                "position": values,
                "threads": torch.get_num_threads(),
                "setting": self.setting.to_dict(),
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Puts training back to where ``checkpoint`` was taken."""
        self.net.load_state_dict(checkpoint.part("net"))
        self.optimizer.load_state(checkpoint.part("optimizer"))
        if self.average is not None:
            self.average.load_state_dict(checkpoint.part("average"))
        if self.lookahead is not None:
            self.lookahead.load(checkpoint.part("lookahead"))
        self.best = checkpoint.part("best")
        values = dict(checkpoint.values["position"])
        for name in ("best_loss", "kept_loss"):
            if values.get(name) is None:
                values[name] = math.inf
        self.position = Position(**values)
        _require_numbers(self.position)


def keeps_best(recipe: Recipe, data: Dataset) -> bool:
    """Whether the epoch that validates best is kept, rather than the last one.

    Averaged weights are not chosen from unless it is asked for: they are best when the
    average is longest.

    >>> from convscope.data import load
    >>> digits = load("digits")
    >>> keeps_best(Recipe(), digits), keeps_best(Recipe(ema=0.9), digits)
    (True, False)
    """
    if recipe.keep != "auto":
        return recipe.keep == "best"
    averaged = bool(recipe.ema or recipe.lookahead)
    return len(data.val) > 0 and (recipe.patience is not None or not averaged)


def _require_numbers(position: Position) -> None:
    rows = position.history
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("position.history is no list of epochs")
    for name, value in asdict(position).items():
        if name != "history" and not isinstance(value, int | float):
            raise ValueError(f"position.{name}={value!r} is no number")


def training_batches(data: Dataset, recipe: Recipe, setting: Setting) -> Batches:
    """The batches that a training with this recipe goes through."""
    return Batches(
        data.train,
        data.preprocessing,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        augmentation=recipe.augmentation,
        balanced=recipe.balance == "sampling",
        num_classes=len(data.classes),
        # Batch norm over a few leftover images would throw training off; each epoch
        # leaves out others.
        drop_last=len(data.train) >= recipe.batch_size,
        device=setting.device,
        memory_format=setting.memory_format,
    )
