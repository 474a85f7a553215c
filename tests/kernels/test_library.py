"""The door: which library is taken, and that everything works without one."""

import json
import os
import re
import subprocess
import sys
import warnings

import pytest

from convscope import kernels
from convscope.errors import ArgumentError, UnknownNameError
from convscope.kernels import library

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
    assert none.library is None
    assert none.reason == "no native library was built: no C++ compiler was found"
    monkeypatch.setattr(library, "found", lambda: none)
    with pytest.raises(ArgumentError, match=r"^kernels: there are no native kernels"):
        library.library()
    library.say_once_that_it_is_slower.cache_clear()
    with pytest.warns(UserWarning, match="runs on torch alone, which is slower"):
        library.say_once_that_it_is_slower()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library.say_once_that_it_is_slower()  # not a second time
    library.say_once_that_it_is_slower.cache_clear()


def test_a_library_that_cannot_be_loaded_is_a_reason_not_an_error(
    monkeypatch, tmp_path
):
    broken = tmp_path / "libconvscope-sse2.so"
    broken.write_text("this is no library")
    monkeypatch.setattr(library, "built", lambda: {"sse2": broken})
    assert library.choose("").reason.startswith("the native library cannot be loaded:")
