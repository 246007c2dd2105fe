"""The page at `/` and the client library: files made by `nox -s frontend`, served as they are.

The page learns what this server can do from a JSON text in its own HTML, so it asks for nothing
that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

__all__ = ["STATIC", "assets", "mount", "render"]

STATIC = Path(__file__).with_name("static")
NOWHERE = 'name="xtalk-server" content="{}"'

# Windows takes these from its registry, where anything may stand.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}

# WebAssembly is for the detector of speech; an audio worklet counts as a script.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class _Files(StaticFiles):
    """Always asked for anew, since their names stay the same; answered 304 by their ETag.

    Pages of other origins may load the library; what they may do with it `/ws` decides.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Access-Control-Allow-Origin"] = "*"
        if kind := MEDIA_TYPES.get(Path(path).suffix):
            response.headers["Content-Type"] = kind
        return response


def mount(app: FastAPI) -> None:
    """Serve the files at `/static`, and the library also where the original's examples have it."""
    app.mount("/static", _Files(directory=STATIC))
    app.mount("/xtalk", _Files(directory=STATIC / "js"))


def assets() -> dict[str, bool]:
    """Which optional parts are installed: they are large, and not in every copy."""
    return {
        "vad": (STATIC / "vad").is_dir(),
        "denoiser": (STATIC / "denoise" / "model.onnx").is_file(),
    }


def render(about: Mapping[str, Any]) -> str:
    """The HTML of the page, with what it is to know of this server."""
    html = (STATIC / "index.html").read_text("utf-8")
    told = escape(json.dumps(about, ensure_ascii=False), quote=True)
    return html.replace(NOWHERE, NOWHERE.replace("{}", told), 1)
