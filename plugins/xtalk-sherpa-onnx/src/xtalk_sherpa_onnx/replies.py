"""What the WebSocket servers of sherpa-onnx say, as transcripts.

streaming    JSON for each piece of a segment; the server's endpoints begin a new segment.
             The C++ server ends with `Done!`, the Python one by closing the connection
offline      one message for a recording: JSON of the C++ server, the bare text of the Python
             one, `<EMPTY>` when it heard nothing
"""

from __future__ import annotations

from dataclasses import replace

from pydantic import BaseModel, ValidationError

from xtalk.remote import Unreadable
from xtalk.speech.interfaces import Transcript
from xtalk_sherpa_onnx.segments import joined, timed_words

__all__ = ["DONE", "Reply", "Segments", "read"]

DONE = "Done!"
EMPTY = "<EMPTY>"


class Reply(BaseModel):
    """One message. What a server does not say has its default."""

    text: str
    segment: int | None = None
    tokens: list[str] = []
    timestamps: list[float] = []
    start_time: float = 0.0
    is_eof: bool = False
    lang: str = ""

    def transcript(self) -> Transcript:
        return Transcript(
            text=self.text.strip(),
            words=timed_words(self.tokens, self.timestamps, self.start_time),
            lang=self.lang.strip("<|>") or None,
        )


def read(message: str | bytes) -> Reply:
    """The message; a text that is no JSON object is what was heard. Unreadable otherwise."""
    if isinstance(message, bytes):
        raise Unreadable("text")
    if not message.startswith("{"):
        return Reply(text="" if message == EMPTY else message)
    try:
        return Reply.model_validate_json(message)
    except ValidationError:
        raise Unreadable("JSON with a text") from None


class Segments:
    """The text over all segments of a server: an endpoint of its own loses nothing."""

    def __init__(self) -> None:
        self.heard = False  # whether it has said anything
        self.complete = False  # whether it has said that nothing follows
        self._segments: dict[int, Transcript] = {}

    def take(self, reply: Reply) -> Transcript:
        """All that was understood, with this reply."""
        self.heard = True
        self.complete = reply.is_eof
        number = max(self._segments, default=0) if reply.segment is None else reply.segment
        self._segments[number] = reply.transcript()
        return self.whole()

    def whole(self) -> Transcript:
        whole = Transcript(text="")
        for _, segment in sorted(self._segments.items()):
            whole = replace(
                segment,
                text=joined(whole.text, segment.text),
                words=whole.words + segment.words,
                stable=len(whole.text),
            )
        return whole
