"""A whole training step of a small network in one call: forward, loss, backward."""

from collections.abc import Sequence

import torch
from torch import Tensor

from convscope.errors import ArgumentError, KernelError, ShapeError
from convscope.kernels.chain import addresses
from convscope.kernels.library import call
from convscope.kernels.stage_plan import StagePlan, numbers_of, prepared


class ChainStep:
    """Loss and gradients of a chain of stages, without building a graph.

    All parameters are moved, once, into one flat tensor, and their ``.grad`` into
    another: each keeps its identity, name and values, and is a view from then on. So an
    optimizer can update ``flat`` with the gradient ``flat_grad`` at once. Gradients are
    overwritten by every call, not added to.

    Args:
        plan: The stages; the last gives a map of 1x1, the logits.
        parameters: Weight and, where the stage has one, bias of each stage in turn;
            float32 on the CPU.

    Raises:
        ShapeError: A parameter does not have the size that the plan says, or the last
            stage gives more than one place.
        ArgumentError: There are no native kernels, or a parameter is not float32 on the
            CPU.

    Shape:
        x:       (N, ...) with as many numbers per image as the plan takes
        targets: (N,) int64, or (N, classes) float32
        return:  () mean cross-entropy

    >>> from convscope import kernels
    >>> layer = torch.nn.Linear(4, 3)
    >>> plan = [StagePlan(in_channels=4, in_size=(1, 1), out_channels=3,
    ...                   kernel_size=(1, 1))]
    >>> x, targets = torch.randn(8, 4), torch.arange(8) % 3
    >>> loss = torch.nn.functional.cross_entropy(layer(x), targets)
    >>> if kernels.available():
    ...     step = ChainStep(plan, list(layer.parameters()))
    ...     torch.testing.assert_close(step(x, targets), loss.detach())
    """

    def __init__(self, plan: Sequence[StagePlan], parameters: Sequence[Tensor]) -> None:
        self.parameters = list(parameters)
        self._chain = prepared(tuple(numbers_of(plan)))
        sizes = [n for pair in self._chain.weights for n in pair if n]
        if [p.numel() for p in self.parameters] != sizes:
            raise ShapeError(
                f"ChainStep: parameters have {[p.numel() for p in self.parameters]} "
                f"numbers, but the plan takes {sizes}. Give weight and bias of each "
                "stage in turn."
            )
        self.classes, *map_size = self._chain.out_shape
        if map_size != [1, 1]:
            raise ShapeError(
                f"ChainStep: the last stage gives {self._chain.out_shape} (channels, "
                "height, width), but logits have one place. End with a fully connected "
                "stage."
            )
        for p in self.parameters:
            if p.dtype != torch.float32 or p.device.type != "cpu":
                raise ArgumentError(
                    f"ChainStep: a parameter is {p.dtype} on {p.device}, but must be "
                    "float32 on the CPU. Train this network with torch."
                )
        self.flat, self.flat_grad = self._flattened()
        self._views = self.flat_grad.split(sizes)
        self._scratch: dict[tuple[int, int], Tensor] = {}

    def _flattened(self) -> tuple[Tensor, Tensor]:
        """One tensor of all values, one of all gradients; parameters become views."""
        flat = torch.cat([p.detach().flatten() for p in self.parameters])
        grad = torch.zeros_like(flat)
        start = 0
        for p in self.parameters:
            end = start + p.numel()
            p.data = flat[start:end].view(p.shape)
            p.grad = grad[start:end].view(p.shape)
            start = end
        return flat, grad

    def __call__(
        self,
        x: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        logits: Tensor | None = None,
    ) -> Tensor:
        """Mean loss of a batch; its gradient is in ``.grad`` of every parameter.

        Args:
            x: Images, float32.
            targets: Class of each image, or the share of each class.
            label_smoothing: Part of every image's share that all classes get alike.
            logits: (N, classes) float32; written, if given.
        """
        threads, batch = torch.get_num_threads(), x.shape[0]
        self._check(x, targets, logits)
        x, targets = x.contiguous(), targets.contiguous()
        soft = targets.ndim == 2
        loss = torch.empty(())
        try:
            call(
                "step",
                self._chain.address,
                batch,
                threads,
                x.data_ptr(),
                addresses(self.parameters, self._chain.weights),
                None if soft else targets.data_ptr(),
                targets.data_ptr() if soft else None,
                label_smoothing,
                None if logits is None else logits.data_ptr(),
                loss.data_ptr(),
                addresses(self._views, self._chain.weights),
                self._scratch_for(batch, threads).data_ptr(),
            )
        except KernelError as error:
            raise ArgumentError(
                f"ChainStep: targets are between {int(targets.min())} and "
                f"{int(targets.max())}, but the chain has {self.classes} logits. "
                f"Use 0 to {self.classes - 1}."
            ) from error
        return loss

    def _scratch_for(self, batch: int, threads: int) -> Tensor:
        key = (batch, threads)
        if key not in self._scratch:
            size = call("scratch_size", self._chain.address, *key)
            self._scratch[key] = torch.empty(size)
        return self._scratch[key]

    def _check(self, x: Tensor, targets: Tensor, logits: Tensor | None) -> None:
        batch, wanted = x.shape[0], self._chain.in_numbers
        if batch == 0 or x.numel() != batch * wanted:
            raise ShapeError(
                f"ChainStep: x has shape {tuple(x.shape)}, but the plan takes {wanted} "
                "numbers per image, of one image or more. Give such a batch."
            )
        hard = targets.dtype == torch.int64 and targets.shape == (batch,)
        shape = (batch, self.classes)
        if not hard and (targets.dtype != torch.float32 or targets.shape != shape):
            raise ShapeError(
                f"ChainStep: targets have shape {tuple(targets.shape)} and "
                f"{targets.dtype}. Give ({batch},) int64 or {shape} float32."
            )
        given = (x, *(() if logits is None else (logits,)))
        if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in given):
            raise ArgumentError(
                "ChainStep: x and logits must be float32 on the CPU. Convert them."
            )
        if logits is not None and (logits.shape != shape or not logits.is_contiguous()):
            raise ShapeError(
                f"ChainStep: logits have shape {tuple(logits.shape)}. "
                f"Give a contiguous tensor of shape {shape}."
            )
