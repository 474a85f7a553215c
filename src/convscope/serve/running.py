"""The server started: a free port, a token, the browser."""

import contextlib
import errno
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator

import uvicorn

from convscope.errors import ArgumentError, Remedy
from convscope.serve.application import application
from convscope.serve.page import Page
from convscope.serve.security import LOOPBACK
from convscope.serve.subject import Subject, subject_of
from convscope.train.run import Run

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  what they mean is said
_NEAR = 20  # ports after the wanted one, of which a free one is proposed


def serve(
    shown: Run | Subject,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    token: str | None = None,
    browser: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Shows a page until it is interrupted, as by Ctrl-C.

    Args:
        shown: A run, or another network as a `Subject`.
        port: Where to listen; 0 takes a free one.
        host: Which address to listen on; by default only this machine's own programs
            can reach it.
        token: What the address carries; made at random by default.
        browser: Whether to open the page.
        say: Called with the page's address, then with what else there is to know.

    Raises:
        ArgumentError: The port is in use, or the host is none of this machine's; or
            the network gives something else than a number for each class.
    """
    token = token or secrets.token_urlsafe(16)
    with _listener(host, port) as listener:
        port = listener.getsockname()[1]
        page = Page(subject_of(shown) if isinstance(shown, Run) else shown)
        app = application(page, token, _names(host))
        config = uvicorn.Config(
            app, log_level="critical", access_log=False, timeout_graceful_shutdown=2
        )
        here, *others = _addresses(host)
        path = f"{port}/?token={token}"
        say(f"http://{here}:{path}")
        if not _is_own(host):
            for other in others:
                say(f"from other machines: http://{other}:{path}")
            say(
                f"Everybody who reaches port {port} of this machine and has the token "
                "can use the page, and keep changed networks as runs beside this one. "
                "The connection is not encrypted."
            )
        # No daemon: Python cannot end while a thread is inside of torch.
        threading.Thread(target=page.forward.prepare, name="prepare").start()
        if browser:
            opener = threading.Timer(0.5, webbrowser.open, (f"http://{here}:{path}",))
            opener.daemon = True
            opener.start()
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    try:
        made = _bound(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ArgumentError(
                f"play: port={port} is in use by another program.",
                remedies=[Remedy("take a free one", "port", _free(host, port))],
            ) from error
        if error.errno == errno.EACCES:
            raise ArgumentError(
                f"play: port={port} may not be opened by this user. Give one from 1024 "
                "on, or none.",
            ) from error
        raise _no_address(host) from error
    except UnicodeError as error:  # a name that no network could have
        raise _no_address(host) from error
    with made:
        yield made


def _bound(host: str, port: int) -> socket.socket:
    if not host:
        raise _no_address(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    # Small answers go at once; asyncio sets it only where a socket names its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _no_address(host: str) -> ArgumentError:
    return ArgumentError(
        f"play: host={host[:80]!r} is no address of this machine. Leave it out for "
        "this machine alone, or give 0.0.0.0 for all of its networks."
    )


def _free(host: str, port: int) -> int:
    """A port near the wanted one that nobody uses now."""
    for other in (*range(port + 1, min(port + _NEAR, 65535)), 0):
        with contextlib.suppress(OSError), _bound(host, other) as made:
            return int(made.getsockname()[1])
    return 0


def _is_own(host: str) -> bool:
    return host in LOOPBACK or host == "::1" or host.startswith("127.")


def _names(host: str) -> tuple[str, ...]:
    """By which names the server may be called."""
    if host in EVERYWHERE:
        return ("*",)
    return (*LOOPBACK, _written(host).lower())


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _addresses(host: str) -> list[str]:
    """Where the page is: for this machine, then for others."""
    if host not in EVERYWHERE:
        return [_written(host), _written(host)]
    found = ["127.0.0.1", socket.gethostname()]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked,
    ):
        asked.connect(("192.0.2.1", 9))  # sends nothing, but shows the way out
        found[1] = asked.getsockname()[0]
    return found
