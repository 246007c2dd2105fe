"""An agent that says what you said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xtalk.agent import Agent, TurnRecord


class EchoAgent(Agent):
    """Answers `prefix` and the words that it received."""

    # It takes no time, so it may run on the event loop. Leave this out if yours works or waits.
    inline = True

    def __init__(self, prefix: str = "You said: ") -> None:
        self._prefix = prefix
        self._history: list[TurnRecord] = []

    def generate_stream(self, input: str | dict[str, Any]) -> Iterator[str]:
        yield self._prefix
        text = input if isinstance(input, str) else input["content"]
        for word in text.split(" "):
            yield f"{word} "

    def generate(self, input: str | dict[str, Any]) -> str:
        return "".join(self.generate_stream(input))

    def commit(self, record: TurnRecord) -> None:
        self._history.append(record)

    def get_chat_history(self) -> str:
        return "\n".join(f"User: {turn.user}\nAssistant: {turn.heard}" for turn in self._history)

    def clone(self) -> EchoAgent:
        return EchoAgent(self._prefix)
