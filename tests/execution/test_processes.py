"""Processes that train together take one setting: that of the first."""

import multiprocessing
import os

import pytest
import torch
from torch import nn

from convscope.execution import Setting, Timing, compare, compare_settings, optimize

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without it"
)
CPU = torch.device("cpu")


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2)
    )


def work(rank, file, answers):
    """One of two processes; each would find another setting to be the fastest."""
    torch.set_num_threads(1)
    own = Setting(CPU, "float32", channels_last=rank == 0)
    compare._Trial.answer = lambda self, *_: compare.Comparison(
        own, (Timing(own, 1.0),), 4, self.training, "measured"
    )
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=2
    )
    training = compare_settings(network(), (1, 8, 8), device="cpu").setting
    judging = compare_settings(network(), (1, 8, 8), device="cpu", training=False)
    net = network()
    fast = optimize(net, (1, 8, 8), batch_size=4)
    together = nn.parallel.DistributedDataParallel(fast)
    together(torch.full((4, 1, 8, 8), rank + 1.0)).sum().backward()
    gradient = net[0].weight.grad.flatten().tolist()
    answers.put((rank, str(training), str(judging.setting), gradient))
    torch.distributed.destroy_process_group()


def test_two_processes_take_the_setting_of_the_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    both = [
        context.Process(target=work, args=(rank, tmp_path / "group", answers))
        for rank in (0, 1)
    ]
    for process in both:
        process.start()
    found = sorted(answers.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    (_, first, judged, gradient), (_, second, other, same) = found
    assert first == second == "cpu, float32, channels-last"
    assert (judged, other) == ("cpu, float32, channels-last", "cpu, float32")
    assert gradient == same
