"""What was said, as messages that a strict server accepts: every call answered, nothing empty.

Exchange   one turn: the user, tool calls with their results, the reply as it is remembered
History    the exchanges that fit, and a summary of those that did not
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xtalk.agent import TurnRecord
from xtalk.characters import whole

__all__ = [
    "Call",
    "Exchange",
    "History",
    "as_json",
    "call_messages",
    "safe_name",
    "script_of",
    "shortened",
    "tokens",
]

INTERRUPTED = "(interrupted: the user spoke before there was a result)"
NAME = re.compile(r"[^a-zA-Z0-9_-]+")
CJK = re.compile("[\u3040-\u9fff\uac00-\ud7af]")
KANA = re.compile("[\u3040-\u30ff]")
HANGUL = re.compile("[\uac00-\ud7af]")


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, and what it answered: None as long as it did not."""

    id: str
    name: str
    args: Mapping[str, Any]
    result: str | None = None


@dataclass(slots=True)
class Exchange:
    """One turn. `speaker` is the name that the user's message bears."""

    user: str
    reply: str = ""
    speaker: str | None = None
    calls: list[Call] = field(default_factory=list)

    def tokens(self) -> int:
        calls = (f"{call.name}{dict(call.args)}{call.result}" for call in self.calls)
        return tokens(self.user + self.reply + "".join(calls)) + 8


def tokens(text: str) -> int:
    """About how many tokens a text has: four letters to one, a CJK character each."""
    wide = len(CJK.findall(text))
    return wide + (len(text) - wide + 3) // 4


def script_of(text: str) -> str:
    """ "Chinese", "Japanese", "Korean", or "" for all that is written in alphabets."""
    wide = len(CJK.findall(text))
    if not wide * 2 > sum(map(str.isalpha, text)):
        return ""
    if len(HANGUL.findall(text)) * 2 > wide:
        return "Korean"
    # Chinese borrows a kana here and there; Japanese cannot do without them.
    return "Japanese" if len(KANA.findall(text)) * 5 > wide else "Chinese"


def shortened(text: str, limit: int) -> str:
    """The beginning of a text that has more than `limit` tokens, and a word that it is cut."""
    size = tokens(text)
    if size <= limit:
        return text
    kept = len(text) * limit // size
    while tokens(text[:kept]) > limit:
        kept = kept * 9 // 10
    return f"{text[:kept]}\n(Cut: these are the first {kept} of {len(text)} characters.)"


def as_json(value: Any) -> Any:
    """The value as JSON holds it, in whole characters: an escape may have written half of one."""
    return json.loads(whole(json.dumps(value, ensure_ascii=False, default=str)))


def safe_name(name: str) -> str | None:
    """A name that servers take: letters, digits, _ and -, 64 at most; None if nothing is left."""
    kept = NAME.sub("_", name).strip("_")[:64]
    return kept or None


class History:
    """Written by `add` alone."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.summary = ""

    def add(self, record: TurnRecord, speaker: str | None) -> None:
        """A turn is over."""
        user = whole(record.user).strip()
        user = user or f"({record.event.replace('_', ' ') or 'nothing was said'})"
        self.exchanges.append(Exchange(user=user, reply=record.remembered.strip(), speaker=speaker))
        self.exchanges[-1].calls = _paired(record)

    def late(self, call_id: str, result: str) -> None:
        """A tool has finished after its turn was interrupted."""
        for exchange in reversed(self.exchanges):
            for index, call in enumerate(exchange.calls):
                if call.id == call_id:
                    exchange.calls[index] = Call(call.id, call.name, call.args, result)

    def tokens(self) -> int:
        return tokens(self.summary) + sum(exchange.tokens() for exchange in self.exchanges)

    def oldest_over(self, limit: int) -> int:
        """How many of the oldest exchanges must go for the rest to fit; the last one stays."""
        size, count = self.tokens(), 0
        while size > limit and count < len(self.exchanges) - 1:
            size -= self.exchanges[count].tokens()
            count += 1
        return count

    def text(self, exchanges: Iterable[Exchange] | None = None) -> str:
        """Lines `User: ...` and `Assistant: ...`."""
        lines = []
        for exchange in self.exchanges if exchanges is None else exchanges:
            lines.append(f"User: {exchange.user}")
            if exchange.reply:
                lines.append(f"Assistant: {exchange.reply}")
        return "\n".join(lines)

    def messages(self, now: Exchange) -> list[Any]:
        """langchain's messages of all exchanges and of the one that begins now."""
        from langchain_core.messages import AIMessage, HumanMessage

        made: list[Any] = []
        waiting: list[str] = []  # what the user said without being answered
        for exchange in (*self.exchanges, now):
            waiting.append(exchange.user)
            if not (exchange.reply or exchange.calls or exchange is now):
                continue
            name = {"name": exchange.speaker} if exchange.speaker else {}
            made.append(HumanMessage("\n".join(waiting), **name))
            waiting = []
            if exchange.calls:
                made += call_messages(exchange.calls)
            if exchange.reply:
                made.append(AIMessage(exchange.reply))
        return made


def call_messages(calls: Sequence[Call], text: str = "") -> list[Any]:
    """The assistant's message that calls, and an answer to each call."""
    from langchain_core.messages import AIMessage, ToolMessage

    asked = [
        {"name": safe_name(call.name) or "unknown", "args": dict(call.args), "id": call.id}
        for call in calls
    ]
    answers = [
        ToolMessage(INTERRUPTED if call.result is None else call.result, tool_call_id=call.id)
        for call in calls
    ]
    return [AIMessage(text, tool_calls=asked), *answers]


def _paired(record: TurnRecord) -> list[Call]:
    """Each call with its result: by id, or, of agents that give none, by name in order."""
    results = list(record.tool_results)
    calls = []
    for number, call in enumerate(record.tool_calls):
        found = next((r for r in results if (r.id or r.name) == (call.id or call.name)), None)
        if found is not None:
            results.remove(found)
        call_id = call.id or f"call_{record.turn_id}_{number}"
        result = None if found is None else found.content
        calls.append(Call(call_id, call.name, as_json(call.args), result))
    return calls
