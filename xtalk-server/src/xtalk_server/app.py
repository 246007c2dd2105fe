"""The FastAPI application: the WebSocket, the small HTTP interface, the pages."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import APIRouter, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.datastructures import State
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response

from xtalk.errors import NotAvailable
from xtalk.transport import StarletteTransport, Transport
from xtalk.wire import messages
from xtalk.wire.protocol import ServerProtocol
from xtalk_server import page, status, view
from xtalk_server.backend import Backend
from xtalk_server.config import ServerConfig, Source
from xtalk_server.connections import Connections
from xtalk_server.downloads import Kind, download, offered, sizes
from xtalk_server.lobby import Waited
from xtalk_server.origins import is_allowed
from xtalk_server.upload import read_upload

if TYPE_CHECKING:
    from xtalk.api import Xtalk
    from xtalk.plugins import Plugins

__all__ = ["create_app"]

log = logging.getLogger(__name__)
# Each route says response_model=None: the models that FastAPI makes otherwise cost a tenth of a
# second at the start, and nobody reads them.
router = APIRouter()

PLUGINS_END_S = 5.0
VERSION = version("xtalk-server")


def create_app(
    source: Xtalk | Source | str | Path | Mapping[str, Any] | None = None,
    *,
    allowed_origins: Collection[str] | None = None,
) -> FastAPI:
    """The application around an Xtalk, or around the configuration from which to build one.

    None means the configuration that is found, or the embedded default. A configuration that
    cannot be read is a ConfigError here and now; the models are built when the application
    starts, in a thread, and sessions wait for them. `allowed_origins` are web origins that may
    connect besides the server's own ("*": all); the default is `server.allowed_origins`.
    """
    if source is None or isinstance(source, (str, Path, Mapping)):
        source = Source.find(source)
    if isinstance(source, Source):
        _list_plugins(source.plugins)
        build, server = source.build, source.server
    else:
        xtalk = source
        build, server = lambda: xtalk, ServerConfig()
    if allowed_origins is not None:
        server = server.model_copy(update={"allowed_origins": list(allowed_origins)})
    return _application(build, server)


def _list_plugins(plugins: Plugins) -> None:
    """Into the log, the broken ones with their reason."""
    for row in plugins.rows:
        name = f"{row.name} ({row.distribution} {row.version})"
        models = ", ".join(f"{slot} {m.name}" for slot, found in row.models.items() for m in found)
        if row.error:
            log.error("plugin %s is broken: %s", name, row.error)
        else:
            log.info("plugin %s: %s", name, models or "; ".join(row.notes) or ", ".join(row.hooks))


def _application(build: Callable[[], Xtalk], server: ServerConfig) -> FastAPI:
    # FastAPI's pages of documentation load scripts from elsewhere.
    app = FastAPI(title="xtalk", version=VERSION, lifespan=_lifespan, docs_url=None, redoc_url=None)
    app.state.backend = Backend(build)
    app.state.allowed_origins = frozenset(server.allowed_origins)
    app.state.upload_limit = server.upload_bytes
    app.state.downloads = server.downloads
    app.state.connections = Connections()
    if server.allowed_origins:  # their pages may read the answers, too
        app.add_middleware(CORSMiddleware, allow_origins=server.allowed_origins)
    app.include_router(router)
    page.mount(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    stopping = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_live, app, stopping)
        yield
        await app.state.connections.end()
        stopping.set()
        building = app.state.backend.status == "starting"
        tasks.cancel_scope.deadline = anyio.current_time() + (0 if building else PLUGINS_END_S)


async def _live(app: FastAPI, stopping: anyio.Event) -> None:
    """Build the models, then hold open what plugins keep for the life of the process."""
    backend: Backend = app.state.backend
    await backend.start()
    if (xtalk := backend.xtalk) is None:
        return
    xtalk.plugins.call("xtalk_routes", app=app, xtalk=xtalk)
    log.info("ready: %s", ", ".join(f"{s} {m}" for s, m in view.models(xtalk).items()))
    async with xtalk.lifespan():
        await stopping.wait()


# --- sessions -----------------------------------------------------------------------------------


@router.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    """One conversation."""
    backend: Backend = websocket.app.state.backend
    if websocket.app.state.connections.draining:
        await websocket.send_denial_response(PlainTextResponse("The server is going down.", 503))
        return
    transport = StarletteTransport(websocket)
    await transport.accept()
    if not _may_connect(websocket):
        await transport.close(1008, "this page may not connect: see server.allowed_origins")
        return
    with websocket.app.state.connections.holding(transport):
        ready = transport if backend.status == "ok" else await _waited(transport, backend)
        if backend.xtalk is not None:
            await backend.xtalk.connect(ready)
        elif backend.failure:
            await _refuse(ready)


def _may_connect(connection: HTTPConnection) -> bool:
    headers, allowed = connection.headers, connection.app.state.allowed_origins
    if is_allowed(headers.get("origin"), headers.get("host"), allowed):
        return True
    log.warning(
        "refused a page of %.100r, since the server was called as %.100r: a proxy must pass on the "
        "header Host, and pages of other origins must be in server.allowed_origins",
        headers.get("origin"),
        headers.get("host"),
    )
    return False


async def _waited(transport: Transport, backend: Backend) -> Waited:
    waited = Waited(transport)
    await waited.wait(backend)
    return waited


async def _refuse(transport: Transport) -> None:
    error = messages.Error(message="The server's models could not be built; its log says why.")
    try:
        await transport.send(ServerProtocol().send(error))
    except ConnectionError:
        return
    await transport.close(1011, "the models could not be built")


# --- the HTTP interface -------------------------------------------------------------------------


@router.get("/health", response_model=None)
async def health(request: Request) -> JSONResponse:
    """Status 200 while newcomers are let in, if need be after a wait; else 503.

    `sessions` are the conversations under way, `queued` those who wait, for a place or for the
    models; `limit` is how many conversations may be under way, null for as many as come.
    """
    state = request.app.state
    status = "draining" if state.connections.draining else state.backend.status
    body = {"status": status, **_load(state), "version": VERSION}
    return JSONResponse(body, 200 if status == "ok" else 503)


def _load(state: State) -> dict[str, int | None]:
    xtalk: Xtalk | None = state.backend.xtalk
    if xtalk is None:
        return {"sessions": 0, "queued": len(state.connections), "limit": None}
    now = xtalk.host.limiter.get_status()
    limit = now["max_sessions"] if now["is_limited"] else None
    return {"sessions": now["active_sessions"], "queued": now["queue_length"], "limit": limit}


@router.get("/api/voices", response_model=None)
async def voices(request: Request) -> dict[str, Any]:
    return {"audios": view.voices(_xtalk(request))}


@router.get("/api/available-tts-models", response_model=None)
async def available_tts_models(request: Request) -> dict[str, Any]:
    return {"models": view.tts_models(_xtalk(request))}


@router.get("/api/available-llm-models", response_model=None)
async def available_llm_models(request: Request) -> dict[str, Any]:
    return {"models": view.llm_models(_xtalk(request))}


@router.get("/api/plugins", response_model=None)
async def plugins(request: Request) -> dict[str, Any]:
    return {"plugins": view.plugins(_xtalk(request))}


@router.post("/api/upload", response_model=None)
async def upload(request: Request) -> dict[str, str]:
    """Give a text file to a session: multipart with `session_id` and `file`.

    Answers before the text can be searched. 400 for what is no UTF-8 text, 403 for a foreign
    page, 404 for a session that is not there, 413 over `server.upload_bytes`, 422 for a missing
    field, 501 where sessions keep no texts.
    """
    xtalk = _xtalk(request)
    if not _may_connect(request):
        raise HTTPException(403, "This page may not upload: see server.allowed_origins.")
    session_id, text = await read_upload(request, request.app.state.upload_limit)
    try:
        await xtalk.embed_text(session_id, text)
    except NotAvailable as error:
        raise HTTPException(501, str(error)) from None
    except ValueError:
        raise HTTPException(404, "There is no such session.") from None
    return {"status": "ok"}


@router.get("/api/sessions/{session_id}", response_model=None)
async def session_files(request: Request, session_id: str) -> dict[Kind, int]:
    """Bytes of what can be had of a session; 403 where `server.downloads` is off."""
    return await sizes(_giving(request), session_id)


@router.get("/api/sessions/{session_id}/{kind}", response_model=None)
async def session_file(request: Request, session_id: str, kind: Kind) -> Response:
    """The recording or the log of a session; 403 where `server.downloads` is off."""
    return await download(_giving(request), session_id, kind)


def _giving(request: Request) -> Xtalk:
    if not request.app.state.downloads:
        raise HTTPException(403, "This server gives nothing away: see server.downloads.")
    return _xtalk(request)


# --- the pages ----------------------------------------------------------------------------------


@router.get("/api/page", response_model=None)
async def about(request: Request) -> dict[str, Any]:
    """What the page at `/` is told of this server; `models` and all behind only when it is ok."""
    backend: Backend = request.app.state.backend
    told = {"status": backend.status, "version": VERSION, **page.assets()}
    if backend.xtalk is None:
        return told
    files = offered(backend.xtalk) if request.app.state.downloads else {}
    limit = request.app.state.upload_limit
    return told | view.about(backend.xtalk) | {"downloads": files, "upload_bytes": limit}


@router.get("/", response_class=HTMLResponse, response_model=None)
@router.get("/modern", response_class=HTMLResponse, response_model=None)
async def index(request: Request) -> HTMLResponse:
    """The page, also where the original has its second one."""
    return HTMLResponse(page.render(await about(request)), headers=page.HEADERS)


@router.get("/status", response_class=HTMLResponse, response_model=None)
async def plain(request: Request) -> HTMLResponse:
    backend: Backend = request.app.state.backend
    scheme = "wss" if request.url.scheme == "https" else "ws"
    html = status.render(
        url=f"{scheme}://{request.headers.get('host', 'localhost')}/ws",
        status=backend.status,
        version=VERSION,
        models=view.models(backend.xtalk) if backend.xtalk else {},
        plugins=view.plugins(backend.xtalk) if backend.xtalk else (),
    )
    return HTMLResponse(html, headers=status.HEADERS)


def _xtalk(request: Request) -> Xtalk:
    """The Xtalk, or 503 while there is none."""
    backend: Backend = request.app.state.backend
    if backend.xtalk is None:
        raise HTTPException(503, f"The server's models are not there: {backend.status}.")
    return backend.xtalk
