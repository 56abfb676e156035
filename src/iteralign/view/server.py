"""The pages as a web application, and the server that gives them out."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import iteralign
from iteralign.constitution.review import SheetEntry
from iteralign.errors import ConfigError, IteralignError, RunDirectoryError
from iteralign.records import Label
from iteralign.report.html import SECTIONS, source, templates
from iteralign.rundir.desk import DecidedMeanwhile, desk_of, state_of
from iteralign.rundir.labels import Place, give_label
from iteralign.rundir.reader import read_run
from iteralign.view.guard import Guard, address
from iteralign.view.index import SETS, Query
from iteralign.view.kept import REPORTED, Runs
from iteralign.view.labelling import with_labels
from iteralign.view.now import now_of, settled, stamp
from iteralign.view.reviewing import cards
from iteralign.view.spark import spark

_EVERY = 1.0
"""Seconds between two looks at a run that a page shows."""
_MOST_ROWS = 100
"""In one piece of a list of answers."""
_MOST_NAME = 80
S = TypeVar("S", bound=BaseModel)
_STATIC = {"page.css": "text/css", "view.css": "text/css", "page.js": "text/javascript", "view.js": "text/javascript"}
_STATIC |= {"review.js": "text/javascript", "labels.js": "text/javascript"}


class Decided(BaseModel):
    """What the page of a review sends."""

    model_config = ConfigDict(extra="forbid")

    entry: SheetEntry
    seen: str


class Said(BaseModel):
    """What a page sends of a person who labels an answer."""

    model_config = ConfigDict(extra="forbid")

    place: Place
    label: Label | None
    seen: Label | None
    by: str


def application(directory: Path, host: str, port: int, token: str) -> Starlette:
    """All pages of the runs under a directory."""
    pages = Pages(Runs(directory), token)
    routes = [
        Route("/", pages.runs),
        Route("/lines", pages.lines),
        Route("/run", pages.run),
        Route("/part", pages.part),
        Route("/answers", pages.answers),
        Route("/label", pages.label, methods=["POST"]),
        Route("/events", pages.events),
        Route("/review", pages.review, methods=["GET"]),
        Route("/review", pages.decide, methods=["POST"]),
        Route("/static/{name}", pages.static),
        Route("/favicon.ico", lambda request: Response(status_code=204)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, host=host, port=port, token=token)],
        exception_handlers={IteralignError: _told},
    )


def _told(request: Request, error: Exception) -> Response:
    """An expected error as its text."""
    status = 409 if isinstance(error, DecidedMeanwhile) else 422 if isinstance(error, ConfigError) else 404
    return PlainTextResponse(str(error), status)


class Pages:
    """What is asked for, answered. Plain functions run in threads, since they read files."""

    def __init__(self, runs: Runs, token: str) -> None:
        self.of = runs
        self.token = token
        self._templates = templates(_own)

    def runs(self, request: Request) -> Response:
        """The first page; its list comes by `lines`."""
        return self._page(request, "runs.html", title=str(self.of.directory))

    def lines(self, request: Request) -> Response:
        """The list of runs."""
        return self._page(request, "lines.html", lines=self.of.lines(), spark=spark)

    def run(self, request: Request) -> Response:
        """A run's page without its parts, which come by `part`: so it is there at once, however large the run is."""
        path = self._path(request)
        return self._page(
            request, "run.html", key=request.query_params["key"], title=read_run(path).name, parts=SECTIONS
        )

    def part(self, request: Request) -> Response:
        """One part of a run's page."""
        path, name = self._path(request), request.query_params.get("name", "")
        if name == "now":
            return self._page(
                request, "now.html", now=now_of(read_run(path)), path=path, key=request.query_params["key"]
            )
        if name == "answers":
            return self._page(request, "answers.html", counts=self.of.answers(path).counts, sets=SETS)
        if name in REPORTED:
            return HTMLResponse(self.of.section(path, name))
        if name == "checked":  # of a run that goes on the files are not checked after each round
            finished = read_run(path).finished
            problems = self.of.problems(path) if finished else []
            return self._page(request, "checked.html", problems=problems, finished=finished)
        raise RunDirectoryError(f"A run's page has no part {name!r}.")

    def answers(self, request: Request) -> Response:
        """A few rows of those that fit."""
        path, given = self._path(request), request.query_params
        names = tuple(name for name in given.getlist("set") if name in SETS)
        query = Query(
            names=names or Query.names,
            became=given.get("kind", ""),
            category=given.get("category", ""),
            words=given.get("words", "").strip(),
            start=_number(given.get("start", "")),
            count=min(_MOST_ROWS, _number(given.get("count", "20"))),
        )
        return JSONResponse(with_labels(read_run(path), self.of.answers(path), query))

    async def label(self, request: Request) -> Response:
        """Keep what a person says of an answer; with the judge's verdict. 409 and 422 as of a decision."""
        return await run_in_threadpool(self._label, request, _sent(Said, await request.body()))

    def _label(self, request: Request, sent: Said) -> Response:
        verdict = give_label(read_run(self._path(request)), sent.place, sent.label, sent.seen, sent.by[:_MOST_NAME])
        return JSONResponse({"judged": verdict.label, "reason": verdict.reason})

    async def events(self, request: Request) -> Response:
        """Server-sent events: one whenever the run has changed, with what became of its rounds."""
        path = await run_in_threadpool(self._path, request)

        async def changes() -> AsyncIterator[str]:
            last = None
            while not await request.is_disconnected():
                now = await run_in_threadpool(stamp, path)
                if now != last:
                    last = now
                    yield f"data: {json.dumps({'settled': await run_in_threadpool(settled, path)})}\n\n"
                else:
                    yield ":\n\n"
                await asyncio.sleep(_EVERY)

        return StreamingResponse(changes(), media_type="text/event-stream")

    def review(self, request: Request) -> Response:
        """What waits for a person."""
        path = self._path(request)
        desk = desk_of(read_run(path))
        return self._page(
            request,
            "review.html",
            key=request.query_params["key"],
            title=desk.run.name,
            desk=desk,
            cards=cards(desk),
            path=path,
        )

    async def decide(self, request: Request) -> Response:
        """Keep one decision. 409 where another has decided meanwhile, 422 for what can't be carried out."""
        return await run_in_threadpool(self._decide, request, _sent(Decided, await request.body()))

    def _decide(self, request: Request, sent: Decided) -> Response:
        desk = desk_of(read_run(self._path(request)))
        left = desk.decide(sent.entry, sent.seen)
        written = None if left else desk.carry_out()
        kept = next(one for one in desk.read().principles if one.id == sent.entry.id)
        return JSONResponse(
            {"left": left, "seen": state_of(kept), "written": None if written is None else str(written)}
        )

    def static(self, request: Request) -> Response:
        """Styles and scripts."""
        name = request.path_params["name"]
        if name not in _STATIC:
            return PlainTextResponse("There is no such file.", 404)
        return Response(_own(name) or source(name), media_type=_STATIC[name])

    def _path(self, request: Request) -> Path:
        return self.of.path(request.query_params.get("key", ""))

    def _page(self, request: Request, template: str, **fields: Any) -> Response:
        """With the token for whoever brought it; without it a page only reads."""
        given = request.query_params.get("token", "")
        token = self.token if secrets.compare_digest(given.encode(), self.token.encode()) else ""
        text = self._templates.get_template(template).render(version=iteralign.__version__, token=token, **fields)
        return HTMLResponse(text.encode("utf-8", "replace"))


def _sent(kind: type[S], body: bytes) -> S:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise ConfigError(f"No decision: {error.errors()[0]['msg']}.") from error


def _number(text: str) -> int:
    return int(text[:9]) if text.isascii() and text.isdecimal() else 0


def _own(name: str) -> str | None:
    """A file of this package's pages; None where there is none of this name."""
    file = resources.files("iteralign.view").joinpath("pages", name)
    return file.read_text(encoding="utf-8") if file.is_file() else None


def serve(directory: Path, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Until it is interrupted. `tell` gets the address once the server listens. Raises ConfigError where it can't."""
    listening = listen(host, port)
    port, token = listening.getsockname()[1], secrets.token_urlsafe(18)
    config = uvicorn.Config(
        application(directory, host, port, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="off",
        timeout_graceful_shutdown=1,
        limit_concurrency=64,
    )
    tell(address(host, port, token))
    with listening:
        uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 for any that is free. Raises ConfigError."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(where)
        listening.listen(128)
    except OSError as error:
        raise ConfigError(
            f"No page can be served at {host}, port {port}: {error.strerror or error}. Choose another by --port, or "
            "--port 0 for any that is free."
        ) from error
    return listening
