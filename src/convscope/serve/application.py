"""The HTTP interface: what the page asks, and in which room it is answered."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, JSONResponse

from convscope.errors import ArgumentError, ConvscopeError
from convscope.serve.cards import cards_of
from convscope.serve.encoding import MEDIA_TYPE, encoded
from convscope.serve.forward import values_of
from convscope.serve.security import Guard
from convscope.serve.sessions import Session, Sessions
from convscope.serve.subject import Subject
from convscope.viz import palette

STATIC = Path(__file__).parent / "static"
MOST_BYTES = 4 * 2**20  # of a request


def application(subject: Subject, token: str, hosts: tuple[str, ...]) -> FastAPI:
    """The server of one subject's page.

    Args:
        subject: What it shows.
        token: What every request for data must carry.
        hosts: Names by which it may be called.
    """
    app = FastAPI(title="convscope", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BaseHTTPMiddleware, dispatch=Guard(token, hosts))
    sessions, cards = Sessions(), cards_of(subject)

    def session(x_session: Annotated[str, Header()] = "") -> Session:
        return sessions.get(x_session)

    @app.exception_handler(ConvscopeError)
    async def refused(_: Request, error: ConvscopeError) -> JSONResponse:
        return JSONResponse({"error": {"message": str(error), "remedies": []}}, 422)

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.post("/api/session")
    async def begin() -> dict[str, str]:
        return {"session": sessions.begin().name}

    @app.get("/api/page")
    def describe() -> dict[str, Any]:
        return {
            "title": subject.title,
            "classes": list(subject.classes),
            "input": {
                "kind": "drawing" if subject.is_drawn else "image",
                "shape": list(subject.input_shape),
                "centering": subject.preprocessing.centering,
            },
            "cards": [card.to_dict() for card in cards],
            "palettes": {
                name: (np.rint(colors * 255).astype(int)).tolist()
                for name, colors in (
                    ("sequential", palette.sequential()),
                    ("diverging", palette.diverging()),
                )
            },
        }

    @app.post("/api/run")
    async def run(
        request: Request,
        page: Annotated[Session, Depends(session)],
        height: Annotated[int, Query(ge=1, le=1024)],
        width: Annotated[int, Query(ge=1, le=1024)],
        sequence: int = 0,
    ) -> Response:
        body = await request.body()
        if len(body) != height * width:
            raise ArgumentError(
                f"play: a drawing of {height} x {width} has {height * width:,} bytes; "
                f"got {len(body):,}. Send one byte per pixel."
            )
        from PIL import Image

        gray = np.frombuffer(body, np.uint8).reshape(height, width)
        pixels = subject.preprocessing.decode(Image.fromarray(gray))
        x = subject.preprocessing.normalize(torch.from_numpy(pixels)[None])
        page.x, page.sequence = x, sequence
        values, rows = values_of(subject, subject.net, cards, x)
        order = np.argsort(-rows, kind="stable")
        return Response(
            encoded(
                {
                    "sequence": sequence,
                    "guesses": [
                        {"class": int(k), "probability": float(rows[k])} for k in order
                    ],
                },
                {str(card): each for card, each in values.items()}
                | {"probabilities": rows},
                exact=frozenset({"probabilities"}),
            ),
            media_type=MEDIA_TYPE,
        )

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
