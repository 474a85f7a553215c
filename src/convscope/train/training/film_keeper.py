"""A listener that keeps how a network looks after each epoch, for a film."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from convscope.analysis import FeatureMaps, Filters, LayerMaps, filters, templates
from convscope.analysis.checking.rebuild import layer_text
from convscope.analysis.probes.maps import seen
from convscope.data import Dataset
from convscope.errors import ConvscopeError, RunError
from convscope.private_torch import AnyBatchNorm, AnyConv
from convscope.train.film import (
    EpochLook,
    TrainingFilm,
    read_film,
    size_bytes,
    write_film,
)
from convscope.train.training.events import (
    EpochEnded,
    Event,
    Finished,
    NetworkListener,
    Saved,
    Started,
    Stopped,
)

MOST_BYTES = 16_000_000  # of all looks together
_LAYERS = 4  # with maps
_CHANNELS = 8  # of each
_SIDE = 64  # elements of a map along an axis, at most


class FilmKeeper(NetworkListener):
    """Keeps filters, and maps of one picture, in the run folder.

    Each epoch costs one forward pass of one picture. Where a film would become larger
    than 16 MB, every second epoch is left out.

    Args:
        folder: The run folder.
        most_bytes: Size from which epochs are left out.

    >>> import tempfile
    >>> from convscope.train import fit
    >>> place = Path(tempfile.mkdtemp(), "run")
    >>> keeper = FilmKeeper(place)
    >>> run = fit("lenet_page", "digits", size=32, epochs=2, folder=place,
    ...           listeners=[keeper])
    >>> read_film(place).epochs
    (0, 1, 2)
    """

    def __init__(self, folder: str | Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = Path(folder), most_bytes
        self._looks: list[EpochLook] = []
        self._every = 1
        self._net: nn.Module = nn.Identity()
        self._x: Tensor = torch.empty(0)
        self._picture: npt.NDArray[np.float64] = np.empty(0)
        self._paths: list[str] = []
        self._convolutions: list[str] = []

    def watch(self, net: nn.Module, data: Dataset) -> None:
        """Chooses the picture, and the layers whose filters and maps are kept."""
        self._net = net
        part = next(p for p in (data.val, data.test, data.train) if len(p))
        pixels = part.pixels[:1]
        self._x = data.preprocessing.normalize(pixels)
        self._picture = seen(np.moveaxis(pixels[0].numpy(), 0, -1))
        found = [p for p, m in net.named_modules() if isinstance(m, AnyConv)]
        places = np.linspace(0, len(found) - 1, 3).round().astype(int).tolist()
        self._convolutions = [found[p] for p in sorted(set(places))] if found else []

    def __call__(self, event: Event) -> None:
        """Looks at the network after an epoch; writes when there may be an end."""
        match event:
            case Started():
                self._begin(event.epoch - 1, event.batch)
            case EpochEnded() if event.epoch % self._every == 0:
                self._keep(event.epoch)
            case Finished():
                last = self._looks[-1].epoch if self._looks else 0
                if event.epochs > last:
                    self._keep(event.epochs)
                self._write()
            case Saved() | Stopped():
                self._write()

    def _begin(self, done: int, batch: int) -> None:
        """Goes on with what is kept of the epochs that are done."""
        with contextlib.suppress(RunError):
            before = read_film(self._folder)
            self._looks = [look for look in before.looks if look.epoch <= done]
        if not self._looks and done == 0 and batch == 0:
            self._keep(0)

    def _keep(self, epoch: int) -> None:
        self._looks.append(EpochLook(epoch, self._filters(), self._maps()))
        while sum(map(size_bytes, self._looks)) > self._most_bytes:
            if len(self._looks) < 4:
                self._looks = self._looks[:1] + self._looks[-1:]
                break
            self._every *= 2
            first, *rest = self._looks
            self._looks = [first, *rest[1::2]]

    def _write(self) -> None:
        if self._looks and self._folder.is_dir():
            write_film(self._folder, TrainingFilm(tuple(self._looks)))

    def _filters(self) -> tuple[Filters, ...]:
        name = type(self._net).__name__
        if not self._convolutions:
            shape = tuple(self._x.shape[1:])
            with contextlib.suppress(ConvscopeError):
                return (templates(self._net, shape, most=16, name=name),)
            return ()
        return tuple(
            filters(self._net, path, most=64 if not number else 16, name=name)
            for number, path in enumerate(self._convolutions)
        )

    def _maps(self) -> FeatureMaps | None:
        """One forward pass in evaluation; the network is as before afterwards."""
        place = next((p for p in self._net.parameters()), torch.empty(0))
        x = self._x.to(place.device)
        if not self._paths:
            with _given(self._net, None) as found:
                self._net(x)
            self._paths = _telling(self._net, found)
        if not self._paths:
            return None
        with _given(self._net, self._paths) as found:
            self._net(x)
        modules = dict(self._net.named_modules())
        layers = tuple(
            _layer(path, layer_text(modules[path]), found[path])
            for path in self._paths
            if path in found
        )
        return FeatureMaps(
            network=type(self._net).__name__,
            input=self._x[0].float().numpy(),
            picture=self._picture,
            layers=layers,
        )


@contextlib.contextmanager
def _given(net: nn.Module, paths: list[str] | None) -> Iterator[dict[str, Tensor]]:
    """What modules give in a pass without gradients; flags and hooks are put back."""
    found: dict[str, Tensor] = {}
    training = [module for module in net.modules() if module.training]

    def keep(path: str) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):  # what follows may work in place
                found[path] = output.detach().float().cpu().clone()

        return hook

    handles = [
        module.register_forward_hook(keep(path))
        for path, module in net.named_modules()
        if (path in paths if paths is not None else not [*module.children()])
    ]
    try:
        net.eval()
        with torch.no_grad():
            yield found
    finally:
        for handle in handles:
            handle.remove()
        for module in training:
            module.training = True


def _telling(net: nn.Module, found: dict[str, Tensor]) -> list[str]:
    """Some layers with maps, from the first to the last; rather no plain sums."""
    modules = dict(net.named_modules())
    maps = [p for p, y in found.items() if y.ndim > 2 and max(y.shape[2:]) > 1]
    plain = (AnyConv, AnyBatchNorm, nn.Dropout, nn.Identity)
    after = [path for path in maps if not isinstance(modules[path], plain)]
    chosen = after or maps
    if not chosen:
        return []
    places = np.unique(np.linspace(0, len(chosen) - 1, _LAYERS).round().astype(int))
    return [chosen[place] for place in places]


def _layer(path: str, kind: str, output: Tensor) -> LayerMaps:
    values = output[0].numpy()
    some = values[:_CHANNELS]
    steps = [max(1, -(-size // _SIDE)) for size in some.shape[1:]]
    thinned = some[(slice(None), *(slice(None, None, step) for step in steps))]
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return LayerMaps(
        label=path,
        kind=kind,
        shape=tuple(values.shape),
        values=thinned.copy(),
        channels=tuple(range(len(some))),
        smallest=float(low),
        largest=float(high),
        not_finite=int((~np.isfinite(values)).sum()),
    )
