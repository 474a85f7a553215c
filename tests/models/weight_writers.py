"""A small network, and the ways in which people keep its weights in files."""

import torch
from safetensors.torch import save_file

from convscope.models import build


def small(**options):
    return build("resnet18", **{"width": 2, "num_classes": 4} | options)


def same(one, other):
    ours, theirs = one.state_dict(), other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def save_parallel(net, path):
    torch.save({f"module.{name}": t for name, t in net.state_dict().items()}, path)


def save_old(net, path):
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)


WRITERS = {
    "a.safetensors": lambda net, path: save_file(net.state_dict(), path),
    "a.pth": lambda net, path: torch.save(net.state_dict(), path),
    "old.pth": save_old,
    "wrapped.pth": lambda net, path: torch.save(
        {"epoch": 3, "state_dict": net.state_dict()}, path
    ),
    "parallel.pth": save_parallel,
    "wrong-ending.bin": lambda net, path: save_file(net.state_dict(), path),
}
