"""A text file in a form: read piece by piece up to a limit, kept in memory, never on disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

__all__ = ["read_upload"]

FORM_BYTES = 16 * 1024  # for the form around the file


class _InMemory(MultiPartParser):
    spool_max_size = 0  # of a SpooledTemporaryFile: never to disk


async def read_upload(request: Request, limit: int) -> tuple[str, str]:
    """The fields `session_id` and `file` of a form, the file as text of at most `limit` bytes.

    HTTPException: 400 for what is no UTF-8 text or no form, 413 over the limit, 422 for a
    missing field. A body that says that it is too long is not read at all.
    """
    too_large = HTTPException(413, f"A file may have at most {limit:,} bytes.")
    if int(request.headers.get("content-length", 0)) > limit + FORM_BYTES:
        raise too_large
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise _incomplete()
    form = await _parse(request, limit, too_large)
    try:
        session_id, file = form.get("session_id"), form.get("file")
        if not isinstance(session_id, str) or not isinstance(file, UploadFile):
            raise _incomplete()
        content = await file.read()
    finally:
        await form.close()
    if len(content) > limit:
        raise too_large
    return session_id, _text(content)


def _text(content: bytes) -> str:
    """The bytes judge, not the type that the client gives: of notes.md most say octet-stream."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"The file is not UTF-8 text: byte {error.start} is wrong."
        raise HTTPException(400, reason) from None
    if "\0" in text:
        raise HTTPException(400, "Only text files are supported.")
    return text


async def _parse(request: Request, limit: int, too_large: HTTPException) -> FormData:
    async def body() -> AsyncGenerator[bytes, None]:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit + FORM_BYTES:
                raise too_large
            yield piece

    try:
        return await _InMemory(request.headers, body(), max_files=1, max_fields=8).parse()
    except (MultiPartException, FormParserError) as error:
        raise HTTPException(400, str(error)) from None


def _incomplete() -> HTTPException:
    return HTTPException(422, "The form needs the fields session_id and file.")
