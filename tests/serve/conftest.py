"""A small run, and the real server of its page."""

import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest
import torch

import convscope as cs

pytest.importorskip("fastapi", reason="needs the extra serve")
httpx = pytest.importorskip("httpx", reason="needs httpx")


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """A network of convolutions with a residual addition, trained for a moment."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "first"
    run = cs.fit(
        "resnet9", "digits", epochs=2, model_options={"width": 4}, folder=folder,
        listeners=(),
    )  # fmt: skip
    return cs.Run.load(run.folder)


class Client:
    """Asks a server as the page does."""

    def __init__(self, address, http=None):
        parts = urlsplit(address)
        self.base = f"http://{parts.netloc}"
        self.port = parts.port
        self.token = parse_qs(parts.query)["token"][0]
        self.session = ""
        self.http = http or httpx.Client(base_url=self.base, timeout=60)

    def begin(self):
        """A page of its own."""
        other = Client(f"{self.base}/?token={self.token}", self.http)
        other.session = other.post("session").json()["session"]
        return other

    @property
    def headers(self):
        """What every request carries."""
        return {"x-convscope-token": self.token, "x-session": self.session}

    def get(self, path, **params):
        """The answer to a GET."""
        return self.http.get(f"/api/{path}", params=params, headers=self.headers)

    def post(self, path, *, content=None, json=None, **params):
        """The answer to a POST."""
        return self.http.post(
            f"/api/{path}", params=params, headers=self.headers, content=content,
            json=json,
        )  # fmt: skip


@pytest.fixture(scope="session")
def server(run):
    """The server, on a port of its own."""
    import uvicorn

    from convscope.serve.application import application
    from convscope.serve.page import Page
    from convscope.serve.security import LOOPBACK
    from convscope.serve.subject import subject_of

    listener = socket.create_server(("127.0.0.1", 0))
    app = application(Page(subject_of(run)), "secret-token", LOOPBACK)
    own = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    thread = threading.Thread(target=own.run, kwargs={"sockets": [listener]})
    thread.start()
    for _ in range(200):
        if own.started:
            break
        time.sleep(0.02)
    port = listener.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}/?token=secret-token")
    yield client
    client.http.close()
    own.should_exit = True
    thread.join(10)


@pytest.fixture
def page(server):
    """An open page with an example in it."""
    found = server.begin()
    answer = found.post("run", kind="example", example=3, sequence=1)
    assert answer.status_code == 200, answer.text
    return found
