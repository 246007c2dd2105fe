"""What the service has understood so far, put together from its events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xtalk.clauses import joined
from xtalk.remote import Unreadable
from xtalk.speech.interfaces import Transcript

__all__ = ["COMPLETED", "PARTIAL", "Heard"]

PARTIAL = "conversation.item.input_audio_transcription.text"
COMPLETED = "conversation.item.input_audio_transcription.completed"


@dataclass(frozen=True)
class _Part:
    """What lies between two pauses: `stable` of its characters will not change."""

    text: str = ""
    stable: int = 0
    done: bool = False


class Heard:
    """One segment of ours, which the service may cut into parts of its own.

    No part is lost when the next one begins, or when it is completed late.
    """

    def __init__(self) -> None:
        self._parts: dict[str, _Part] = {}
        self._lang: str | None = None
        self._completed = 0

    def take(self, event: Mapping[str, Any]) -> bool:
        """Whether this event has changed what is understood."""
        kind = event["type"]
        if kind not in (PARTIAL, COMPLETED):
            return False
        name = str(event.get("item_id") or self._completed)
        before = self._parts.get(name, _Part())
        if before.done:
            return False
        self._lang = _text(event, "language") or self._lang
        self._parts[name] = part = _completed(event) if kind == COMPLETED else _partial(event)
        self._completed += part.done
        return part != before

    def transcript(self, *, final: bool = False) -> Transcript:
        """All parts in their order; what follows a part that may change may change as well."""
        text, stable, settled = "", 0, True
        for part in self._parts.values():
            text = joined(text, part.text)
            if settled:
                stable = len(text) - len(part.text) + part.stable
            settled = settled and part.done
        return Transcript(
            text=text, final=final, lang=self._lang, stable=len(text) if final else stable
        )


def _partial(event: Mapping[str, Any]) -> _Part:
    """`text` is what is certain, `stash` what follows it for now."""
    certain = _text(event, "text").lstrip()
    return _Part(certain + _text(event, "stash"), len(certain))


def _completed(event: Mapping[str, Any]) -> _Part:
    text = _text(event, "transcript").strip()
    return _Part(text, len(text), done=True)


def _text(event: Mapping[str, Any], name: str) -> str:
    """A text of an event, "" where it has none. Unreadable when that is something else."""
    text = event.get(name)
    if not isinstance(text, (str, type(None))):
        raise Unreadable(f"event whose {name} is a text")
    return text or ""
