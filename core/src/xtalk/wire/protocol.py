"""Both ends of the wire as plain functions of what arrives and what shall be sent, without I/O.

`ServerProtocol` is the server's end, `ClientProtocol` the end of tests, tools and load
generators. Neither keeps state beyond the index of the chunk that comes next, so an error costs
one message and never the connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from xtalk.audio import RATE_IN, AudioFrame
from xtalk.errors import AudioError, ProtocolError
from xtalk.wire.messages import (
    CLIENT_MESSAGES,
    SERVER_MESSAGES,
    ClientMessage,
    ServerMessage,
    Signal,
    TtsChunk,
    TtsChunkMeta,
    build,
)

MAX_MESSAGE: Final = 1 << 20
"""Bytes. More than half a minute of microphone audio, and far more than any text."""

__all__ = ["MAX_MESSAGE", "ClientProtocol", "ServerProtocol"]


class ServerProtocol:
    """What a client sent becomes messages and audio; what the server says becomes frames."""

    def receive_text(self, text: str) -> ClientMessage:
        """The message in a text frame.

        Raises ProtocolError, in words fit for the client, when it is too long, is not a JSON
        object, names no known action, or holds a field of the wrong type.
        """
        body = _json_object(text)
        action = _action(body)
        cls = CLIENT_MESSAGES.get(action)
        if cls is None:
            raise ProtocolError(f"there is no action {action[:40]!r}")
        return build(cls, body)

    def receive_bytes(self, data: bytes) -> AudioFrame:
        """Microphone audio at 16 kHz; an empty frame is allowed. ProtocolError otherwise."""
        _limit(len(data))
        if len(data) % 2:
            raise ProtocolError(
                f"audio must be 16-bit samples, an even number of bytes; got {len(data)}"
            )
        return AudioFrame(data, RATE_IN)

    def send(self, message: ServerMessage | TtsChunk | Signal) -> list[str | bytes]:
        """The frames of a message, in order; a chunk's meta stands directly before its audio.

        A chunk with half a sample is an AudioError: the original's page would break on it.
        """
        if isinstance(message, TtsChunk):
            if len(message.pcm) % 2:
                raise AudioError(f"a chunk needs whole samples, got {len(message.pcm)} bytes")
            return [chunk_meta_json(message.chunk_index, message.text_end), message.pcm]
        return [message.to_json()]


class ClientProtocol:
    """What the server sent becomes messages and chunks; what the client says becomes frames."""

    def __init__(self) -> None:
        self._next_chunk = 0
        self._text_end: int | None = None

    def receive_text(self, text: str) -> ServerMessage | Signal:
        """The message in a text frame; an action that is not known is a Signal.

        Raises ProtocolError when it is not a JSON object or a field has the wrong type.
        """
        body = _json_object(text)
        cls = SERVER_MESSAGES.get(_action(body))
        if cls is None:
            return Signal(body)
        message = build(cls, _fields(cls, body))
        if isinstance(message, TtsChunkMeta):
            self._next_chunk, self._text_end = message.chunk_index, message.text_end
        return message

    def receive_bytes(self, data: bytes) -> TtsChunk:
        """The audio of the chunk that the last `tts_chunk_meta` announced; 0 when none did."""
        if len(data) % 2:
            raise ProtocolError(
                f"audio must be 16-bit samples, an even number of bytes; got {len(data)}"
            )
        chunk = TtsChunk(self._next_chunk, data, self._text_end)
        self._next_chunk, self._text_end = 0, None
        return chunk

    def send(self, message: ClientMessage | AudioFrame) -> list[str | bytes]:
        """The frame of a message, or of microphone audio at 16 kHz."""
        if isinstance(message, AudioFrame):
            if message.rate != RATE_IN:
                raise AudioError(f"the wire carries 16000 Hz to the server, got {message.rate}")
            return [message.check().pcm]
        return [message.to_json()]


def chunk_meta_json(index: int, text_end: int | None = None) -> str:
    """The text of `tts_chunk_meta`, by hand, because it goes out with every chunk."""
    said = "" if text_end is None else f',"text_end":{text_end}'
    return f'{{"action":"tts_chunk_meta","data":{{"chunk_index":{index}{said}}}}}'


def _json_object(text: str) -> dict[str, Any]:
    try:
        encoded = text.encode()
        _limit(len(encoded))
        body = from_json(encoded, allow_inf_nan=False)
    except ValueError:  # which text and where would be the client's own words: not in an error
        raise ProtocolError("a message must be JSON text, and this is not") from None
    if not isinstance(body, dict):
        raise ProtocolError("a message must be a JSON object with an action")
    return body


def _limit(size: int) -> None:
    if size > MAX_MESSAGE:
        raise ProtocolError(f"a message may have at most {MAX_MESSAGE} bytes; got {size}")


def _action(body: Mapping[str, Any]) -> str:
    action = body.get("action") or body.get("type")
    if not isinstance(action, str) or not action:
        raise ProtocolError("a message must name its action, as a text")
    return action


def _fields(cls: type[ServerMessage], body: Mapping[str, Any]) -> Mapping[str, Any]:
    if cls.LAYOUT == "top":
        return body
    if cls.LAYOUT == "blank":
        return {}
    data = body.get("data")
    if not isinstance(data, dict):
        raise ProtocolError(f"the message {cls.ACTION!r} needs an object in 'data'")
    return data
