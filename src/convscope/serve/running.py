"""The server started: a free port, a token, the browser."""

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from convscope.serve.application import application
from convscope.serve.page import Page
from convscope.serve.security import LOOPBACK
from convscope.serve.subject import subject_of
from convscope.train.run import Run


def serve(
    run: Run,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    token: str | None = None,
    browser: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Shows a run's page until it is interrupted.

    Args:
        run: Whose network.
        port: Where to listen; 0 takes a free one.
        host: Which address to listen on; by default only this machine's own programs
            can reach it.
        token: What the address carries; made at random by default.
        browser: Whether to open the page.
        say: Called with the address.
    """
    token = token or secrets.token_urlsafe(16)
    listener = socket.create_server((host, port))
    port = listener.getsockname()[1]
    hosts = LOOPBACK if host in ("127.0.0.1", "::1", "localhost") else ("*",)
    address = (
        f"http://{'127.0.0.1' if hosts == LOOPBACK else host}:{port}/?token={token}"
    )
    page = Page(subject_of(run))
    app = application(page, token, hosts)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    say(address)
    threading.Thread(target=page.forward.prepare, daemon=True).start()
    if browser:
        threading.Timer(0.5, webbrowser.open, (address,)).start()
    uvicorn.Server(config).run(sockets=[listener])
