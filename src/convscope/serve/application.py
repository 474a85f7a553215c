"""The HTTP interface: addresses, and what may be in them. `page.py` has the answers."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from convscope.errors import ConvscopeError
from convscope.serve.edits import Change
from convscope.serve.encoding import MEDIA_TYPE
from convscope.serve.inputs import Placing, drawing
from convscope.serve.page import Page, remedies_of
from convscope.serve.security import MOST_SIDE, Guard, body_of, refusal
from convscope.serve.sessions import Session
from convscope.viz.tokens import stylesheet

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
Number = Annotated[int, Query(ge=0, le=1_000_000)]
Side = Annotated[int, Query(ge=1, le=MOST_SIDE)]
Shift = Annotated[int, Query(ge=-10_000, le=10_000)]
Turn = Annotated[float, Query(ge=-3600, le=3600, allow_inf_nan=False)]
Text = Annotated[str, Query(max_length=20_000)]


class Why(BaseModel):
    """A question why."""

    method: str = Field(max_length=40)
    target: int


class Restore(BaseModel):
    """Which change to take back; all without a number."""

    index: int | None = None


class Keep(BaseModel):
    """What to call the changed network."""

    name: str = Field(max_length=200)


class Edit(BaseModel):
    """A change."""

    change: Change


def application(page: Page, token: str, hosts: tuple[str, ...]) -> FastAPI:
    """The server of one page.

    Args:
        page: What it shows.
        token: What every request for data must carry.
        hosts: Names by which it may be called.
    """
    app = FastAPI(title="convscope", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, token=token, hosts=hosts)
    files = _files()

    def session(x_session: Annotated[str, Header(max_length=100)] = "") -> Session:
        return page.sessions.get(x_session)

    Of = Annotated[Session, Depends(session)]

    @app.exception_handler(ConvscopeError)
    async def refused(_: Request, error: ConvscopeError) -> JSONResponse:
        return JSONResponse(remedies_of(error), 422)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])[:80]
        return refusal(422, f"play: {where}: {first['msg'][:200]}.")

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        logging.getLogger("convscope.serve").exception(
            "a request failed", exc_info=error
        )
        return refusal(
            500,
            "play: the server failed; its terminal says why. Reload the page.",
        )

    @app.get("/")
    async def index() -> Response:
        return files["index.html"]

    @app.get("/static/tokens.css")
    async def tokens() -> Response:
        return Response(stylesheet(), media_type="text/css")

    @app.get("/favicon.ico")
    async def icon() -> Response:
        return Response(status_code=204)

    @app.post("/api/session")
    async def begin() -> dict[str, str]:
        return {"session": page.sessions.begin().name}

    @app.get("/api/page")
    def describe() -> dict[str, Any]:
        return page.describe()

    @app.post("/api/run")
    async def run(
        request: Request,
        of: Of,
        kind: Literal["drawing", "picture", "example"],
        sequence: Number = 0,
        wanted: Text = "",
        height: Side = 1,
        width: Side = 1,
        centering: bool = True,
        example: Number = 0,
        right: Shift = 0,
        down: Shift = 0,
        turn: Turn = 0.0,
    ) -> Response:
        body = await body_of(request)

        def answer() -> bytes | None:
            if sequence < of.sequence:
                return None
            if kind == "drawing":
                pixels = drawing(page.subject, body, height, width, centering)
            elif kind == "picture":
                pixels = page.subject.preprocessing.decode(body)
            else:
                pixels = page.examples.pixels(example)
            return page.run(of, pixels, Placing(right, down, turn), wanted, sequence)

        found = await run_in_threadpool(answer)
        if found is None:
            return Response(status_code=204)  # a newer input has been answered
        return Response(found, media_type=MEDIA_TYPE)

    @app.get("/api/values")
    def values(of: Of, wanted: Text = "") -> Response:
        return Response(page.values(of, wanted), media_type=MEDIA_TYPE)

    @app.get("/api/fields")
    def fields(card: Number) -> dict[str, Any]:
        return page.fields(card)

    @app.get("/api/explain")
    def explain(
        of: Of, card: Number, channel: Number, position: Text = ""
    ) -> JSONResponse:
        place = tuple(int(p) for p in position.split(",") if p.isdecimal())
        return JSONResponse(page.explain(of, card, channel, place))

    @app.get("/api/filters")
    def filters(of: Of, card: Number, channel: Number) -> Response:
        return Response(page.filters(of, card, channel), media_type=MEDIA_TYPE)

    @app.post("/api/why")
    def why(of: Of, asked: Why) -> Response:
        found = page.why(of, asked.method, asked.target)
        return Response(found, media_type=MEDIA_TYPE)

    @app.post("/api/edit")
    def edit(of: Of, asked: Edit) -> dict[str, Any]:
        return page.edit(of, asked.change)

    @app.post("/api/restore")
    def restore(of: Of, asked: Restore) -> dict[str, Any]:
        return page.restore(of, asked.index)

    @app.post("/api/keep")
    def keep(of: Of, asked: Keep) -> dict[str, Any]:
        return page.keep(of, asked.name)

    @app.get("/api/examples")
    def examples(
        kind: Annotated[str, Query(max_length=20)],
        start: Number = 0,
        count: Annotated[int, Query(ge=1, le=100)] = 12,
    ) -> dict[str, Any]:
        return page.examples.listed(kind, start, count)

    @app.get("/api/thumbnail/{number}")
    def thumbnail(number: int) -> Response:
        return Response(page.examples.thumbnail(number), media_type="image/png")

    @app.get("/static/{name:path}")
    async def static(name: str) -> Response:
        return files.get(name) or refusal(404, "play: there is no such file.")

    return app


def _files() -> dict[str, Response]:
    """The page's own files, read once; few and small."""
    return {
        path.relative_to(STATIC).as_posix(): Response(
            path.read_bytes(), media_type=TYPES.get(path.suffix)
        )
        for path in STATIC.rglob("*")
        if path.is_file()
    }
