"""``convscope play``, in processes of its own as in a terminal."""

import json
import re
import shutil
import signal
import socket
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from torch import nn

import convscope as cs
from processes import Command, wait_for

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs httpx")

ADDRESS = re.compile(r"^http://\S+\?token=\S+$", re.MULTILINE)


class Play:
    """The command, running, and its page."""

    def __init__(self, folder, *arguments):
        self.command = Command(folder, "play", *arguments, "--no-browser")
        self.out = folder / "out.txt"
        try:
            self.address = wait_for(self._address)
        except AssertionError:
            self.command.send(signal.SIGKILL)
            raise
        parts = urlsplit(self.address)
        self.base = f"http://{parts.netloc}/api/"
        self.headers = {"x-convscope-token": parse_qs(parts.query)["token"][0]}

    def _address(self):
        if self.command.process.exitcode is not None:
            raise ValueError(self.command.ended())
        found = ADDRESS.search(self.out.read_text()) if self.out.exists() else None
        return found and found.group()

    def ask(self, path, method="GET", **named):
        return httpx.request(method, self.base + path, headers=self.headers, **named)

    def begin(self):
        self.headers["x-session"] = self.ask("session", "POST").json()["session"]
        return self.ask("page").json()

    def end(self):
        self.command.send(signal.SIGINT)
        code, _, err = self.command.ended()
        assert (code, err) == (0, "")


@pytest.fixture
def play(tmp_path):
    """Starts the command; all are ended."""
    started = []

    def start(*arguments):
        folder = tmp_path / f"place-{len(started)}"
        folder.mkdir()
        started.append(Play(folder, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.command.process.exitcode is None:
            one.end()


def test_a_run_is_shown_at_the_printed_address_and_ctrl_c_ends_it(play, finished):
    for target in (finished, finished / "weights.safetensors"):
        shown = play(target)
        page = shown.begin()
        assert page["title"] == "digits-run"
        assert {"examples", "keep"} <= set(page["can"])
        index = httpx.get(shown.address)
        assert index.status_code == 200
        assert "<canvas" in index.text or "module" in index.text
        shown.end()
        with pytest.raises(httpx.ConnectError):
            httpx.get(shown.address)


def test_the_network_is_named_and_random_weights_are_said(play):
    page = play("lenet5").begin()
    assert page["title"] == "lenet5 (random weights)"
    assert page["classes"] == [str(number) for number in range(10)]
    assert page["input"]["shape"] == [1, 32, 32]
    assert not {"examples", "keep"} & set(page["can"])


def test_a_weights_file_of_a_model_is_shown_by_both_names(play, finished):
    given = ("softmax_regression", "--input", "1,8,8", "--weights",
             finished / "weights.safetensors")  # fmt: skip
    shown = play(*given)
    shown.begin()
    answer = shown.ask("run", "POST", params={"kind": "drawing", "height": 8,
                       "width": 8}, content=bytes(64))  # fmt: skip
    assert answer.status_code == 200


def test_open_to_the_network_the_token_is_needed_and_it_is_said(play, finished):
    shown = play(finished, "--host", "0.0.0.0")  # noqa: S104  the token guards it
    wait_for(lambda: "is not encrypted" in shown.out.read_text())
    out = shown.out.read_text()
    assert "from other machines: http://" in out
    assert "Everybody who reaches port" in out
    assert shown.ask("page").status_code == 200
    assert httpx.get(shown.base + "page").status_code == 401


def error(outcome):
    assert outcome.code == 2
    (line,) = outcome.err.strip().splitlines()
    return line


def test_a_port_in_use_is_said_with_a_free_one(convscope, finished):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = error(convscope("play", finished, "--port", port, "--no-browser"))
    found = re.fullmatch(
        rf"Error: play: port={port} is in use by another program\. Take a free one "
        r"\(--port (\d+)\)\.", said,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", int(found[1]))):
        pass


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.7", "", "x" * 80])
def test_a_host_that_is_not_this_machines_is_refused(convscope, finished, host):
    said = error(convscope("play", finished, "--host", host, "--no-browser"))
    assert said == (
        f"Error: play: host={host!r} is no address of this machine. Leave it out for "
        "this machine alone, or give 0.0.0.0 for all of its networks."
    )


def test_what_is_no_run_and_no_model_is_said_with_what_to_do(
    convscope, finished, tmp_path
):
    (tmp_path / "empty").mkdir()
    assert "is not a run folder. Give a folder that `convscope train` made." in error(
        convscope("play", tmp_path / "empty")
    )
    assert "is not there. Give a run folder, a model's name, or" in error(
        convscope("play", tmp_path / "nothing")
    )
    assert "Did you mean 'lenet5'?" in error(convscope("play", "lenet6"))
    (tmp_path / "a.pth").write_bytes(b"")
    assert "a model's name with --weights" in error(
        convscope("play", tmp_path / "a.pth")
    )
    assert "Leave out --weights, --input and --arg." in error(
        convscope("play", finished, "--input", "1,9,9")
    )


def test_networks_that_the_page_cannot_show_are_refused(convscope):
    unet = ("unet", "--arg", "width=2", "--input", "1,32,32")
    assert error(convscope("play", *unet)).endswith(
        "The page shows networks that give one number for each class, (1, classes)."
    )
    assert error(convscope("play", "resnet20", "--input", "12,1000")) == (
        "Error: play: resnet20 takes (12, 1000), and the page shows pictures in gray "
        "or color. Give --input 1,H,W or 3,H,W."
    )


@pytest.mark.parametrize("name", ["spec.json", "weights.safetensors"])
def test_a_damaged_run_is_one_line_that_names_the_file(
    convscope, finished, tmp_path, name
):
    place = tmp_path / "run"
    shutil.copytree(finished, place)
    (place / name).write_bytes((place / name).read_bytes()[:-40])
    said = error(convscope("play", place, "--no-browser"))
    assert name in said


@pytest.fixture(scope="session")
def of_arrays(tmp_path_factory):
    """A run whose data were arrays."""
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 1, 8, 8), dtype=np.float32), np.arange(40) % 2
    place = tmp_path_factory.mktemp("arrays") / "run"
    cs.fit("softmax_regression", (x, y), epochs=1, folder=place, listeners=())
    return place


def test_without_stored_data_the_page_works_and_says_what_is_missing(play, of_arrays):
    shown = play(of_arrays)
    page = shown.begin()
    assert "examples" not in page["can"]
    assert any("no pictures to choose from" in note for note in page["notes"])
    drawn = {"kind": "drawing", "height": 8, "width": 8}
    answer = shown.ask("run", "POST", params=drawn, content=bytes(64))
    assert answer.status_code == 200


def test_where_the_data_are_gone_the_page_works_and_says_so(play, pictures, tmp_path):
    photos = pictures({"cat": 12, "dog": 12})
    run = tmp_path / "photos-run"
    cs.fit("softmax_regression", photos, epochs=1, folder=run, listeners=())
    shutil.rmtree(photos)
    shown = play(run)
    shown.begin()
    answer = shown.ask("examples", params={"kind": "test"})
    assert answer.status_code == 422
    message = answer.json()["error"]["message"]
    assert message.startswith("play: there are no pictures to choose from: ")
    assert str(photos) in message
    drawn = {"kind": "drawing", "height": 12, "width": 12}
    answer = shown.ask("run", "POST", params=drawn, content=bytes(144))
    assert answer.status_code == 200


def test_a_run_of_a_network_of_ones_own_is_said_with_what_to_do(
    convscope, tiny, tmp_path
):
    net = nn.Sequential(nn.Flatten(), nn.Linear(144, 3))
    cs.fit(net, tiny, epochs=1, folder=tmp_path / "own", listeners=())
    said = error(convscope("play", tmp_path / "own"))
    assert "Run.load(folder, net=your_network)" in said
    assert (
        json.loads((tmp_path / "own" / "spec.json").read_text())["model"]["name"]
        is None
    )
