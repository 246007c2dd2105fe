"""What a session leaves on disk, for those who know its id: its recording and its log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import anyio
from fastapi import HTTPException
from fastapi.responses import StreamingResponse

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["Kind", "download", "offered"]

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


async def download(xtalk: Xtalk, session_id: str, kind: Kind) -> StreamingResponse:
    """The file as it is now: a session that still goes on has written all but its last second.

    HTTPException 404 where there is none. The id, which only its client was told, is all that
    is asked for; it must be a UUID, so that it names no other file.
    """
    setting, ending, media_type = _KINDS[kind]
    folder = xtalk.service_prototype.service_config.get(setting)
    path = anyio.Path(Path(folder or "") / f"{_checked(session_id)}{ending}")
    if not folder or not await path.is_file():
        raise HTTPException(404, f"There is no {kind} of such a session.")
    size = (await path.stat()).st_size
    name = f"xtalk-{session_id[:8]}{ending}"
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(_read(path, size), headers=headers, media_type=media_type)


def _checked(session_id: str) -> UUID:
    try:
        return UUID(session_id)
    except ValueError:
        raise HTTPException(404, "There is no such session.") from None


async def _read(path: anyio.Path, size: int) -> AsyncIterator[bytes]:
    """No more than its first `size` bytes, however it grows meanwhile."""
    async with await path.open("rb") as file:
        while size > 0 and (piece := await file.read(min(PIECE, size))):
            size -= len(piece)
            yield piece
