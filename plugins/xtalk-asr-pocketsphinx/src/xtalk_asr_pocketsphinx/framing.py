"""How the parent and its worker processes talk: one byte of kind, four of length, the payload.

Imported by the worker as well, so it needs nothing but the standard library.

    parent -> worker   MEAN (cepstral mean to begin with), AUDIO (PCM16, 16 kHz), END of segment
    worker -> parent   PARTIAL, OUTSIDE (speech does not fit the grammar so far), FINAL: JSON

One more socket, the control, goes to the server that forks the workers. It carries records of
ORDER: what to do and the number of the worker; the worker's end of its socket travels along.
"""

from __future__ import annotations

import struct

MEAN, AUDIO, END = b"M", b"A", b"E"
PARTIAL, OUTSIDE, FINAL = b"P", b"O", b"F"
HEADER = struct.Struct("<cI")

GRAMMAR, LANGUAGE, KILL = b"g", b"l", b"k"
ORDER = struct.Struct("<cQ")


def pack(kind: bytes, payload: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(payload)) + payload


class Unpacker:
    """Bytes in, whole messages out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def push(self, received: bytes) -> list[tuple[bytes, bytes]]:
        """Every message that is now complete."""
        self._buffer += received
        messages = []
        start = 0
        while len(self._buffer) - start >= HEADER.size:
            kind, length = HEADER.unpack_from(self._buffer, start)
            end = start + HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append((kind, bytes(self._buffer[start + HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return messages
