"""Who may ask the server, and what its answers tell the browser."""

import hmac
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convscope.errors import ArgumentError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; "
        "form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Permissions-Policy": (
        "camera=(self), microphone=(), geolocation=(), display-capture=(), usb=()"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
TOKEN_HEADER = "x-convscope-token"  # noqa: S105  the name of a header
IMAGES = "/api/thumbnail/"
MOST_BYTES = 16 * 2**20  # of a request's body
MOST_SIDE = 1024  # pixels of a drawing
MOST_HEAVY = 2  # explanations of decisions at once, on the whole server


class Guard:
    """Middleware: the right host, no foreign page, and the token for ``/api``.

    Args:
        app: What it guards.
        token: What the page's address carries.
        hosts: Names by which the server may be called, with or without port; a page of
            another site that resolves to this machine calls it by another name.
    """

    def __init__(
        self, app: ASGIApp, token: str, hosts: Sequence[str] = LOOPBACK
    ) -> None:
        self.app, self.token, self.hosts = app, token, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 403 or 401 itself, else passes on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = None
        if scope["type"] == "http":
            refused = self._refusal(Request(scope))
        await (refused or self.app)(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if "*" not in self.hosts and _without_port(host) not in self.hosts:
            return refusal(
                403, f"play: host={host[:80]!r} is not this server's. Open the address "
                "that convscope play printed.",
            )  # fmt: skip
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return refusal(403, "play: another site may not ask this server.")
        if request.url.path.startswith("/api"):
            given = request.headers.get(TOKEN_HEADER, "")
            if request.url.path.startswith(IMAGES):  # an <img> sends no headers
                given = given or request.query_params.get("token", "")
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return refusal(
                    401, "play: the token is missing or wrong. Open the address that "
                    "convscope play printed, with all that stands behind the '?'.",
                )  # fmt: skip
        return None


async def body_of(request: Request) -> bytes:
    """The body of a request, read no further than ``MOST_BYTES``.

    Raises:
        ArgumentError: It is larger.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            raise ArgumentError(
                f"play: more than {MOST_BYTES // 2**20} MB were sent. Send a smaller "
                "picture."
            )
        parts.append(part)
    return b"".join(parts)


def refusal(status: int, message: str) -> Response:
    """An error as the page reads it."""
    return JSONResponse({"error": {"message": message, "remedies": []}}, status)


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()
