"""Local response normalization, as layers without weights."""

from torch import Tensor, nn

from convscope.errors import explains_calls
from convscope.functional.response import local_response_norm, require_response
from convscope.layers.shape import require_input


class LocalResponseNorm(nn.Module):
    """Divides each value by a power of the squares of its place in neighboring maps.

    Args:
        size: Maps that are summed over.
        alpha: Factor of the squares.
        beta: Exponent.
        k: What the squares are added to.
        average: Whether ``alpha`` is divided by ``size``, as torch does; without it
            the squares are summed, as in the paper.

    Shape:
        x:      (N, C, ...) with one to three spatial axes
        return: like x

    Raises:
        ArgumentError: A number is out of range.
        ShapeError: An input has another number of axes.

    Source:
        Krizhevsky et al. 2012, section 3.3, with ``size=5, alpha=1e-4, beta=0.75,
        k=2.0, average=False``; arguments and defaults are torch's.

    >>> LocalResponseNorm(5, k=2.0, average=False)
    LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=2.0, average=False)
    """

    axes: int | None = None  # one to three, after a batch axis

    @explains_calls
    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        average: bool = True,
    ) -> None:
        super().__init__()
        require_response(size, alpha, beta, k, where=type(self).__name__)
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.average = average

    def forward(self, x: Tensor) -> Tensor:
        """Normalized to the neighboring maps."""
        single = False
        if self.axes is not None:
            require_input(self, x, self.axes, None)
            single = x.ndim == self.axes + 1
        out = local_response_norm(
            x.unsqueeze(0) if single else x,
            self.size,
            self.alpha,
            self.beta,
            self.k,
            average=self.average,
            where=type(self).__name__,
        )
        return out.squeeze(0) if single else out

    def extra_repr(self) -> str:
        """What the layer was built with."""
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text if self.average else f"{text}, average=False"


class LocalResponseNorm1d(LocalResponseNorm):
    """`LocalResponseNorm` that takes one spatial axis only, with or without a batch.

    Shape:
        x:      (N, C, L) or (C, L)
        return: like x

    Raises:
        ShapeError: An input has another number of axes.

    >>> import torch
    >>> LocalResponseNorm1d(2)(torch.zeros(2, 3, 8)).shape
    torch.Size([2, 3, 8])
    """

    axes = 1


class LocalResponseNorm2d(LocalResponseNorm):
    """`LocalResponseNorm` that takes two spatial axes only, with or without a batch.

    Shape:
        x:      (N, C, H, W) or (C, H, W)
        return: like x

    Raises:
        ShapeError: An input has another number of axes.

    >>> import torch
    >>> LocalResponseNorm2d(2)(torch.zeros(3, 8, 8)).shape
    torch.Size([3, 8, 8])
    """

    axes = 2


class LocalResponseNorm3d(LocalResponseNorm):
    """`LocalResponseNorm` that takes three spatial axes only, with or without a batch.

    Shape:
        x:      (N, C, D, H, W) or (C, D, H, W)
        return: like x

    Raises:
        ShapeError: An input has another number of axes.

    >>> import torch
    >>> LocalResponseNorm3d(2)(torch.zeros(2, 3, 4, 4, 4)).shape
    torch.Size([2, 3, 4, 4, 4])
    """

    axes = 3
