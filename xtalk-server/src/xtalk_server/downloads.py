"""What a session leaves on disk, for those who know its id: its recording and its log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import anyio
from fastapi import HTTPException
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["Kind", "download", "offered", "sizes"]

Kind = Literal["recording", "log"]
PIECE = 64 * 1024

# For each: the setting that names its folder, the ending of its name, its type.
_KINDS: dict[Kind, tuple[str, str, str]] = {
    "recording": ("recording", ".wav", "audio/wav"),
    "log": ("session_log", ".jsonl", "application/x-ndjson"),
}


def offered(xtalk: Xtalk) -> dict[Kind, bool]:
    """What sessions of this server leave."""
    config = xtalk.service_prototype.service_config
    return {kind: bool(config.get(setting)) for kind, (setting, _, _) in _KINDS.items()}


async def sizes(xtalk: Xtalk, session_id: str) -> dict[Kind, int]:
    """Bytes that are there now; 0 where there is nothing (yet)."""
    found = {kind: _path(xtalk, session_id, kind) for kind in _KINDS}
    return {kind: await _size(path) for kind, path in found.items()}


async def download(xtalk: Xtalk, session_id: str, kind: Kind) -> StreamingResponse:
    """The file as it is now: a session that still goes on is some seconds ahead of it.

    HTTPException 404 where there is none. The id, which only its client was told, is all that
    is asked for; it must be a UUID, so that it names no other file.
    """
    path = _path(xtalk, session_id, kind)
    size = await _size(path)
    if path is None or not size:
        raise HTTPException(404, f"There is no {kind} of such a session.")
    _, ending, media_type = _KINDS[kind]
    name = f"xtalk-{session_id[:8]}{ending}"
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_read(path, size), headers=headers, media_type=media_type)


def _path(xtalk: Xtalk, session_id: str, kind: Kind) -> anyio.Path | None:
    """Where it would be; None where sessions leave no such file."""
    setting, ending, _ = _KINDS[kind]
    folder = xtalk.service_prototype.service_config.get(setting)
    try:
        name = f"{UUID(session_id)}{ending}"
    except ValueError:
        raise HTTPException(404, "There is no such session.") from None
    return anyio.Path(folder, name) if folder else None


async def _size(path: anyio.Path | None) -> int:
    if path is None or not await path.is_file():
        return 0
    return (await path.stat()).st_size


async def _read(path: anyio.Path, size: int) -> AsyncIterator[bytes]:
    """No more than its first `size` bytes, however it grows meanwhile."""
    async with await path.open("rb") as file:
        while size > 0 and (piece := await file.read(min(PIECE, size))):
            size -= len(piece)
            yield piece
