"""Settings are measured, remembered, and never at the cost of the result."""

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import platformdirs
import pytest
import torch
from torch import nn

from convscope.errors import ArgumentError
from convscope.execution import (
    Optimized,
    Setting,
    Timing,
    compare,
    compare_settings,
    optimize,
    timing_cache,
)
from convscope.execution.compare import fastest, possible_settings
from convscope.execution.measure import agree
from convscope.models import build

CPU = torch.device("cpu")
PLAIN = Setting(CPU, "float32", False)
LAST = Setting(CPU, "float32", True)
HALF = Setting(CPU, "bfloat16", True)
SHAPE = (3, 8, 8)
USER_CACHE = platformdirs.user_cache_path


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is known at first, and nothing is left behind."""
    monkeypatch.setattr(timing_cache, "_KNOWN", {})
    monkeypatch.setattr(
        timing_cache.platformdirs, "user_cache_path", lambda name: tmp_path / name
    )
    return tmp_path / "convscope" / "settings"


@pytest.fixture
def measured(monkeypatch):
    """Counts how often settings are measured, and makes it quick."""
    calls = []
    real = compare.measured

    def counting(*arguments):
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(compare, "measured", counting)
    return calls


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(288, 3),
    )  # fmt: skip


def ask(**changes):
    options = {"batch_size": 8, "device": "cpu", "seconds": 0.05, **changes}
    return compare_settings(network(), SHAPE, **options)


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        ((10, 9.9, 9.8), PLAIN),  # within noise: the plainest
        ((10, 5, 4.9), LAST),  # fewer bits for nothing
        ((10, 5, 4), HALF),
        ((10, 12, 8), HALF),
        ((10, 12, 9), PLAIN),  # 1.1 times is not enough for fewer bits
    ],
)
def test_more_than_the_plainest_is_taken_for_a_clear_gain_only(milliseconds, expected):
    settings = (PLAIN, LAST, HALF)
    timings = [Timing(*pair) for pair in zip(settings, milliseconds, strict=True)]
    assert fastest(timings) == expected


def test_an_answer_is_measured_once(measured):
    first = ask()
    assert first.why == "measured"
    assert ask() == first
    assert len(measured) == 1


def test_another_process_reads_the_answer(measured, monkeypatch, own_cache):
    first = ask()
    monkeypatch.setattr(timing_cache, "_KNOWN", {})
    assert ask() == first
    assert len(measured) == 1
    assert len(list(own_cache.glob("*.json"))) == 1


@pytest.mark.parametrize(
    "content",
    [
        "", "{", "[]", "null", '{"images": 3}', '{"images": 8, "milliseconds": {}}',
        '{"images": 8, "milliseconds": {"cpu, float32": "soon"}}',
        '{"images": 8, "milliseconds": {"cpu, float32": NaN}}',
        '{"images": -1, "milliseconds": {"cpu, float32": 1}}',
    ],
)  # fmt: skip
def test_a_spoiled_answer_is_measured_again(content, measured, monkeypatch, own_cache):
    ask()
    (file,) = own_cache.glob("*.json")
    file.write_text(content)
    monkeypatch.setattr(timing_cache, "_KNOWN", {})
    ask()
    assert len(measured) == 2
    assert json.loads(file.read_text())["images"] == 8


def test_a_cache_that_cannot_be_written_is_no_error(own_cache, measured):
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file where a folder should be")
    assert ask() == ask()
    assert len(measured) == 1  # this process remembers


@pytest.mark.parametrize("change", [{"batch_size": 16}, {"training": False}])
def test_another_question_has_another_answer(change, measured):
    ask()
    ask(**change)
    assert len(measured) == 2


def test_a_library_that_is_built_anew_is_measured(measured, monkeypatch, tmp_path):
    library = tmp_path / "library.so"
    library.write_bytes(b"1")
    name = timing_cache.kernels.instruction_set()
    monkeypatch.setattr(timing_cache, "built", lambda: {name: library})
    ask()
    ask()
    assert len(measured) == 1
    library.write_bytes(b"12")
    ask()
    assert len(measured) == 2
    os.utime(library, ns=(0, 0))
    ask()
    assert len(measured) == 3
    library.unlink()
    ask()
    assert len(measured) == 4


def test_other_candidates_are_measured(measured, monkeypatch):
    ask()
    monkeypatch.setattr(compare, "possible_settings", lambda *_: [PLAIN, LAST])
    ask()
    assert len(measured) == 2
    monkeypatch.setattr(Setting, "kinds", property(lambda _: ("norm", "new")))
    ask()
    assert len(measured) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other places")
def test_the_users_own_cache_is_not_written_to():
    kept = Path(os.environ["XDG_CACHE_HOME"])
    assert kept.is_relative_to(tempfile.gettempdir())
    assert USER_CACHE("convscope") == kept / "convscope"


def _keep(place, number):
    timing_cache.platformdirs.user_cache_path = lambda name: place
    for _ in range(50):
        timing_cache.keep("key", (number, {"cpu, float32": float(number)}))


def test_processes_that_write_at_once_leave_one_whole_answer(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_keep, args=(tmp_path, n)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    (file,) = (tmp_path / "settings").iterdir()
    kept = json.loads(file.read_text())
    assert kept["milliseconds"]["cpu, float32"] == kept["images"]


def test_measuring_leaves_no_trace():
    net = network()
    calls = []
    net[0].register_forward_hook(lambda *_: calls.append(1))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    compare_settings(net, SHAPE, device="cpu", batch_size=8, seconds=0.05)
    assert torch.equal(torch.rand(1), expected)
    assert not calls
    assert all(p.grad is None for p in net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_setting_that_computes_something_else_is_not_taken(monkeypatch):
    real = Optimized.__call__

    def wrong(self, x):
        y = real(self, x)
        return y + 10 if self.setting.channels_last else y

    monkeypatch.setattr(Optimized, "__call__", wrong)
    assert not any(timing.setting.channels_last for timing in ask().timings)


@pytest.mark.parametrize(
    ("off", "precision", "same"),
    [(9e-4, "float32", True), (2e-3, "float32", False), (0.09, "bfloat16", True),
     (0.2, "bfloat16", False), (float("nan"), "float32", False)],
)  # fmt: skip
def test_outputs_are_compared_by_the_largest(off, precision, same):
    expected = torch.tensor([[1.0, -10.0]])
    found = expected + torch.tensor([[10 * off, 0.0]])
    assert agree([found], [expected], precision) == same


def test_a_network_that_cannot_run_gets_the_plain_setting():
    net = nn.Sequential(nn.Conv2d(5, 8, 3))  # not for three channels
    found = compare_settings(net, SHAPE, device="cpu", seconds=0.05)
    assert found.setting == PLAIN
    assert found.why == "no step could be measured"


def test_off_is_the_network_as_it_is():
    found = compare_settings(network(), SHAPE, device="cpu", optimize=False)
    assert found.setting == PLAIN
    assert found.timings == ()


def test_a_precision_that_is_asked_for_is_the_only_one():
    for precision in ("float32", "bfloat16"):
        kinds = {each.precision for each in possible_settings(network(), precision)}
        assert kinds == {precision}


def test_a_network_without_images_has_one_setting():
    assert possible_settings(nn.Linear(2, 2), "float32") == [PLAIN]


def test_an_optimized_network_gives_float32_and_keeps_its_names():
    net = network()
    fast = optimize(net, SHAPE, batch_size=8)
    assert isinstance(fast, Optimized)
    assert list(fast.state_dict()) == list(net.state_dict())
    y = fast(torch.randn(8, *SHAPE))
    assert y.dtype == torch.float32
    y.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError, match=r"^device='tpu' is not one of auto, cpu"):
        optimize(network(), SHAPE, device="tpu")


def test_where_there_are_no_kernels_it_is_said_once(monkeypatch):
    from convscope.kernels import library

    monkeypatch.setattr(library, "available", lambda: False)
    monkeypatch.setattr(library, "why_not", lambda: "no compiler was there")
    library.warn_if_missing.cache_clear()
    net = nn.Linear(2, 2)
    text = "convscope runs on torch alone, which is slower for small networks: no"
    with pytest.warns(UserWarning, match=text):
        compare_settings(net, device="cpu")
    compare_settings(net, device="cpu")  # a second warning would be an error


@pytest.mark.parametrize(("width", "may_be"), [(8, False), (16, True)])
def test_narrow_pointwise_convolutions_are_never_channels_last(width, may_be):
    net = build("resnet18", width=width, num_classes=10)
    assert any(s.channels_last for s in possible_settings(net)) is may_be
