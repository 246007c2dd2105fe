"""What an agent must offer, what it receives, and what it may say.

An agent answers one turn at a time. It receives an `AgentInput` and yields text and tool calls.
What it said, and how much of that was heard, comes back once a turn through `commit`; an agent
that keeps a history writes it there and nowhere else.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from xtalk.errors import NotAvailable
from xtalk.speech.interfaces import SpeechChunk

__all__ = [
    "Agent",
    "AgentInput",
    "ReplyPart",
    "Text",
    "Tool",
    "ToolCall",
    "ToolLike",
    "ToolResult",
    "TurnRecord",
    "Usage",
    "untrusted",
]

UNTRUSTED = re.compile(r"<(?=\s*/?\s*untrusted)", re.IGNORECASE)


class AgentInput(dict[str, Any]):
    """One turn of the user: a dict with `content` and `context`, and views on it.

    `context` is the pipeline's context (thought, caption, speaker_id, voices, ...). `now` is
    the wall-clock time of the turn, with its zone; agents take the time from here. `ages` says
    how many seconds ago each thing in the context was noted.

    `speculative`: perhaps the user has not said all. Nobody hears the reply until it is certain,
    and no part is asked for behind a ToolCall with effects, so yield a call before it runs.

    `event` is "" for what the user said. For "document_ready" `text` tells the agent what has
    happened, and it shall say so in its own words.
    """

    def __init__(
        self,
        text: str,
        *,
        context: dict[str, Any] | None = None,
        turn_id: int = 0,
        now: datetime | None = None,
        ages: Mapping[str, float] | None = None,
        event: str = "",
        speculative: bool = False,
    ) -> None:
        super().__init__(content=text, context={} if context is None else context)
        self["turn_id"] = turn_id
        self["now"] = now
        self["ages"] = dict(ages or {})
        self["event"] = event
        self["speculative"] = speculative

    @property
    def text(self) -> str:
        return str(self["content"])

    @property
    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = self["context"]
        return context

    @property
    def turn_id(self) -> int:
        return int(self["turn_id"])

    @property
    def now(self) -> datetime:
        now: datetime | None = self["now"]
        return now if now is not None else datetime.now().astimezone()

    @property
    def event(self) -> str:
        return str(self["event"])

    @property
    def speculative(self) -> bool:
        return bool(self["speculative"])

    @property
    def speaker(self) -> str | None:
        return self.context.get("speaker_id")

    @property
    def speaker_age_s(self) -> float | None:
        return self._age_s("speaker_id")

    @property
    def caption(self) -> str | None:
        return self.context.get("caption")

    @property
    def caption_age_s(self) -> float | None:
        return self._age_s("caption")

    @property
    def thought(self) -> str | None:
        return self.context.get("thought")

    @property
    def thought_age_s(self) -> float | None:
        return self._age_s("thought")

    def _age_s(self, name: str) -> float | None:
        """None for what is not known, or since when is not."""
        age: float | None = self["ages"].get(name)
        return None if self.context.get(name) is None else age


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """Words of the reply. `spoken` is what the voice says where that differs from the page."""

    text: str
    spoken: str | None = None
    lang: str | None = None


class ToolCall(dict[str, Any]):
    """The agent calls a tool: a dict with `name` and `args`, and views on it.

    `effects` says that the call changes the world; `instant` that it needs no filler sentence.
    """

    def __init__(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        id: str = "",
        effects: bool = True,
        instant: bool = False,
    ) -> None:
        super().__init__(name=name, args=dict(args or {}), id=id, effects=effects, instant=instant)

    @property
    def name(self) -> str:
        return str(self["name"])

    @property
    def args(self) -> dict[str, Any]:
        args: dict[str, Any] = self["args"]
        return args

    @property
    def id(self) -> str:
        return str(self["id"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """What a tool answered."""

    id: str
    name: str
    content: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens that a language model counted for this turn."""

    input_tokens: int = 0
    output_tokens: int = 0


ReplyPart = Text | ToolCall | ToolResult | Usage | SpeechChunk


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnRecord:
    """How a turn ended: the only thing an agent's history is written from.

    `reply` is what the agent made, `heard` the prefix of it that the listener heard
    (`estimated` when that comes from the clock and not from acknowledgements). `remembered` is
    what the history shall hold of it, by the policy of the service (`history`: heard, full, or
    marked, which is what was heard and a mark where it was cut). `event` says why the server
    began the turn by itself; it is "" for what the user said.
    """

    turn_id: int
    user: str
    reply: str
    heard: str
    outcome: Literal["done", "interrupted", "failed"]
    remembered: str = ""
    estimated: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    event: str = ""


@runtime_checkable
class ToolLike(Protocol):
    """Whatever can serve as a tool; langchain's tools do."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def args(self) -> Mapping[str, Any]: ...

    def invoke(self, input: Any, /) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool written by hand. `parameters` is the JSON Schema of its arguments' properties.

    `untrusted`: its answers are a stranger's words. Without `timeout_s` the agent's limit holds.
    """

    name: str
    description: str
    call: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    effects: bool = True
    instant: bool = False
    untrusted: bool = False
    timeout_s: float | None = None

    @property
    def args(self) -> Mapping[str, Any]:
        return self.parameters

    def invoke(self, input: Mapping[str, Any], /) -> Any:
        return self.call(**input)


class Agent(ABC):
    """Answers what was said.

    The smallest agent overrides `generate` and `clone`. A streaming one overrides
    `generate_stream`, or `async_generate_stream`, and yields `str`, `Text`, `ToolCall` (or a
    dict with `name` and `args`), `ToolResult`, `Usage` or `SpeechChunk`.
    """

    inline: ClassVar[bool] = False

    @abstractmethod
    def generate(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        """The whole reply, or the reply and its tool calls. May block."""

    @abstractmethod
    def clone(self) -> Agent:
        """An agent for another session, with an empty history."""

    def generate_stream(self, input: str | dict[str, Any]) -> Iterable[Any]:
        """The reply in pieces: by default the tool calls, then the text."""
        return _parts(self.generate(input))

    async def async_generate(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        """`generate` in a thread; override it when the agent is async by nature."""
        from xtalk.threads import run_in_thread

        return await run_in_thread(self.generate, input)

    def async_generate_stream(self, input: str | dict[str, Any]) -> AsyncIterator[Any]:
        """`generate_stream` in a thread; override it when the agent is async by nature."""
        from xtalk.threads import iterate_in_thread

        return iterate_in_thread(lambda: self.generate_stream(input))

    def commit(self, record: TurnRecord) -> None:
        """A turn is over. Called exactly once for each, before the next begins; must not block.

        An agent without it keeps whatever history it wrote itself, uncut.
        """

    def grammar(self) -> str | None:
        """What this agent understands, as JSGF, where that is a closed set; else None."""
        return None

    def get_llm(self) -> Any:
        """The chat model behind the agent, or None."""
        return None

    def get_chat_history(self) -> str | None:
        """The conversation as lines `User: ...` and `Assistant: ...`, or None."""
        return None

    def add_tools(self, tools: Sequence[ToolLike | Callable[..., Any]]) -> None:
        """Offer these tools to the model. An agent without tools refuses in one sentence."""
        raise NotAvailable(f"{type(self).__name__} cannot use tools")


def untrusted(text: str, source: str) -> str:
    """A stranger's words, marked as such for a language model. They cannot end the mark."""
    harmless = UNTRUSTED.sub("(", text)
    return f'<untrusted source="{source}">\n{harmless}\n</untrusted>'


def _parts(reply: str | tuple[str, list[Any]]) -> Iterable[Any]:
    text, calls = (reply, []) if isinstance(reply, str) else reply
    yield from calls
    if text:
        yield text
