"""The door: which library is taken, and that everything works without one."""

import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from convscope import kernels
from convscope.errors import ArgumentError, KernelError, UnknownNameError
from convscope.kernels import StagePlan, library
from convscope.kernels.gelu import gelu
from convscope.kernels.max_pool import max_pool
from convscope.kernels.norm import batch_norm
from convscope.kernels.signatures import ERRORS, SIGNATURES, SURFACE

needs_kernels = pytest.mark.skipif(
    not kernels.available(), reason="there are no native kernels here"
)


def in_process(program, **variables):
    return subprocess.check_output(
        [sys.executable, "-c", program], env={**os.environ, **variables}, text=True
    )


@needs_kernels
def test_the_fastest_that_the_machine_runs_is_taken(monkeypatch):
    assert library.choose("").instruction_set == kernels.sets()[0]


@needs_kernels
@pytest.mark.parametrize("name", kernels.sets())
def test_another_can_be_chosen_by_hand(name):
    program = "from convscope import kernels; print(kernels.instruction_set())"
    assert in_process(program, CONVSCOPE_KERNELS=name).strip() == name


def test_off_leaves_everything_to_torch():
    program = (
        "import convscope; from convscope import kernels\n"
        "print(kernels.available(), kernels.why_not())"
    )
    said = in_process(program, CONVSCOPE_KERNELS="off").strip()
    assert said == "False CONVSCOPE_KERNELS=off"


@needs_kernels
def test_there_is_one_openmp_runtime_and_it_is_that_of_torch():
    program = (
        "import json, torch\n"
        "from convscope import kernels; kernels.library.found()\n"
        "lines = open('/proc/self/maps').read().splitlines()\n"
        "print(json.dumps(sorted({l.split()[-1] for l in lines if 'omp' in l})))"
    )
    if not os.path.exists("/proc/self/maps"):  # noqa: PTH110
        pytest.skip("this system does not list what is mapped")
    runtimes = json.loads(in_process(program))
    assert len(runtimes) == 1
    assert "torch" in runtimes[0]


def test_a_name_that_is_no_instruction_set_is_refused():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'avx2'\?$"):
        library.choose("avx")


def test_a_set_that_the_machine_lacks_is_refused(monkeypatch):
    if not kernels.available():
        pytest.skip("there are no native kernels here")
    other = "neon" if kernels.sets()[0] != "neon" else "avx2"
    text = f"CONVSCOPE_KERNELS={other} does not run on this machine. Use one of "
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}"):
        library.choose(other)


def test_without_libraries_the_reason_is_given_and_said_once(monkeypatch):
    monkeypatch.setattr(library, "built", dict)
    none = library.choose("")
    assert not none.functions
    assert none.reason == "no native library was built: no C++ compiler was found"
    monkeypatch.setattr(library, "found", lambda: none)
    with pytest.raises(ArgumentError, match=r"^kernels: there are no native kernels"):
        library.call("scratch_size", None, 1, 1)
    library.warn_if_missing.cache_clear()
    with pytest.warns(UserWarning, match="runs on torch alone, which is slower"):
        library.warn_if_missing()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.warn_if_missing()  # not a second time
    library.warn_if_missing.cache_clear()


def test_a_library_that_cannot_be_loaded_is_a_reason_not_an_error(
    monkeypatch, tmp_path
):
    broken = tmp_path / "libconvscope-sse2.so"
    broken.write_text("this is no library")
    monkeypatch.setattr(library, "built", lambda: {"sse2": broken})
    assert library.choose("").reason.startswith("the native library cannot be loaded:")


SOURCES = Path(library.__file__).parent
HEADER = (SOURCES / "native" / "convscope.h").read_text()


def test_every_function_of_the_header_has_its_signature():
    declared = re.findall(r"CONVSCOPE_API \w+ convscope_(\w+)\((.*?)\);", HEADER, re.S)
    takes = {
        name: 0 if arguments == "void" else arguments.count(",") + 1
        for name, arguments in declared
    }
    assert takes == {name: len(sig[1]) for name, sig in SIGNATURES.items()}
    codes = re.findall(r"#define CONVSCOPE_E_\w+ \((-\d+)\)", HEADER)
    assert {int(code) for code in codes} == set(ERRORS)
    assert f"#define CONVSCOPE_SURFACE {SURFACE}\n" in HEADER


def ways_around(sources):
    """Files that open a library themselves or name a function of ours elsewhere."""
    return [
        path.name
        for path in sources
        if path.name not in ("library.py", "signatures.py")
        and re.search(
            r"CDLL\((?!None)|found\(\)\.|\bconvscope_[a-z]+\w*\(", path.read_text()
        )
    ]


def test_there_is_no_other_way_to_the_library_than_call(tmp_path):
    assert ways_around((SOURCES.parent).rglob("*.py")) == []
    for mistake in ("found().functions['step'](1)", "ctypes.CDLL(path)"):
        planted = tmp_path / "planted.py"
        planted.write_text(mistake)
        assert ways_around([planted]) == ["planted.py"]


USES = {  # every public operation, and the functions that it calls
    "norm_scratch": lambda: gelu(torch.ones(3)),
    "norm_statistics": lambda: batch_norm(torch.ones(2, 1)),
    "norm_forward": lambda: batch_norm(torch.ones(2, 1)),
    "maxpool_forward": lambda: max_pool(torch.ones(1, 1, 2, 2), (2, 2)),
    "maxpool_backward": lambda: max_pool(
        torch.ones(1, 1, 2, 2, requires_grad=True), (2, 2)
    ).backward(torch.ones(1, 1, 1, 1)),
    "norm_backward": lambda: gelu(torch.ones(3, requires_grad=True)).sum().backward(),
    "scratch_size": lambda: chained(torch.ones(1, 4)),
    "forward": lambda: chained(torch.ones(1, 4)),
    "backward": lambda: chained(torch.ones(1, 4, requires_grad=True)).sum().backward(),
}


def chained(x):
    plan = StagePlan(
        in_channels=4, in_size=(1, 1), out_channels=2, kernel_size=(1, 1), bias=False
    )
    return kernels.stages(x, [torch.ones(2, 4)], [plan])


@needs_kernels
@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("code", [-1, -2, -9])
def test_a_code_of_failure_is_an_error_wherever_it_comes_from(name, code, monkeypatch):
    chained(torch.ones(1, 4))  # its plan is kept
    real = library.found()
    failing = real._replace(functions={**real.functions, name: lambda *_: code})
    monkeypatch.setattr(library, "found", lambda: failing)
    meaning, remedy = {
        -1: ("a size or a choice is not supported", "Use torch's own operation for "
             "these sizes."),
        -2: ("a buffer is smaller than was asked for", "Report this call: it is a "
             "mistake of convscope."),
        -9: ("an error without a name", "Report this call: it is a mistake of "
             "convscope."),
    }[code]  # fmt: skip
    text = (
        f"kernels: convscope_{name} returned {code}, {meaning}, and computed nothing. "
        f"{remedy}"
    )
    with pytest.raises(KernelError, match=f"^{re.escape(text)}$"):
        USES[name]()


@needs_kernels
@pytest.mark.parametrize(
    ("use", "text"),
    [
        (
            lambda: max_pool(torch.randn(1, 16, 40, 40), (17, 17)),
            "max_pool: x of shape (1, 16, 40, 40) and torch.float32 on cpu, "
            "kernel_size=(17, 17) (289 taps), stride=(17, 17): the kernel takes images "
            "(N, C, H, W) in float32 or bfloat16 on the CPU, 255 taps and 8 strides at "
            "most. Use torch.nn.functional.max_pool2d.",
        ),
        (
            lambda: max_pool(torch.randn(1, 1, 9, 9).double(), (2, 2)),
            "max_pool: x of shape (1, 1, 9, 9) and torch.float64 on cpu, ",
        ),
        (
            lambda: torch.ops.convscope.max_pool(
                torch.randn(1, 1, 20, 20), (9, 9), (1, 1), (0, 0), False, False
            ),
            "max_pool: x of shape (1, 1, 20, 20) and torch.float32 on cpu, "
            "kernel_size=[9, 9] (81 taps), stride=[1, 1]: ",
        ),
        (
            lambda: gelu(torch.randn(4, 4).double()),
            "gelu: x is torch.float64 on cpu of shape (4, 4) and strides (4, 1), but "
            "the kernel takes float32 or bfloat16 without gaps. Use "
            "torch.nn.functional.gelu.",
        ),
        (lambda: gelu(torch.randn(4, 4)[:, ::2]), "gelu: x is torch.float32 on cpu"),
        (
            lambda: batch_norm(torch.randn(4, 4).half()),
            "batch_norm: x of shape (4, 4) on cpu, with weight and bias of dtypes "
            "['torch.float16']: the kernel takes (N, C, ...) with two values or more "
            "per channel on the CPU, float32 or bfloat16, and float32 parameters. Use "
            "torch.nn.functional.batch_norm.",
        ),
        (
            lambda: batch_norm(torch.randn(4, 4), torch.ones(4).double()),
            "batch_norm: x of shape (4, 4) on cpu, with weight and bias of dtypes "
            "['torch.float32', 'torch.float64']: ",
        ),
    ],
)
def test_what_no_kernel_takes_is_refused_and_never_read(use, text):
    with pytest.raises(ArgumentError, match=f"^{re.escape(text)}"):
        use()
