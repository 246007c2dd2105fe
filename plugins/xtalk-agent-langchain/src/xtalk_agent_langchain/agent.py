"""`DefaultAgent`: a language model that speaks as it writes, and uses tools.

    turn --> messages --> model --text--> the voice
                ^           +--calls--> tools, at the same time --+
                +---------------- their answers ------------------+

Nothing is written down while it answers. `commit` writes the history, so an answer that nobody
wanted leaves no trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from xtalk.agent import (
    Agent,
    AgentInput,
    Text,
    ToolCall,
    ToolLike,
    ToolResult,
    TurnRecord,
    Usage,
    untrusted,
)
from xtalk.characters import Halves, whole
from xtalk.errors import ConfigError, ModelError
from xtalk.model_types import BaseChatModel
from xtalk_agent_langchain.builtin import (
    NAMES,
    WebSearch,
    WebSearchSettings,
    built_in,
    voice_tools,
)
from xtalk_agent_langchain.history import (
    CJK,
    Call,
    Exchange,
    History,
    as_json,
    call_messages,
    safe_name,
    script_of,
    shortened,
)
from xtalk_agent_langchain.llm import Llm, secret, text_of
from xtalk_agent_langchain.mcp import McpServer, McpTools
from xtalk_agent_langchain.prompts import FILLERS, SUMMARISE, SYSTEM, system_message
from xtalk_agent_langchain.tools import BoundTool, bind, run_together, run_tool

__all__ = ["Context", "DefaultAgent", "Limits"]

log = logging.getLogger("xtalk.agent.langchain")

SERPER_KEYS = "SERPER_API_KEY", "GOOGLE_SERPER_API_KEY"
SPEAKERS = 16  # turns whose speaker is known until they are committed


class Limits(BaseModel):
    """How long things may take, and how often they may be tried."""

    model_config = ConfigDict(extra="forbid")

    timeout_s: Annotated[float, Field(gt=0, description="between two tokens")] = 20.0
    retries: Annotated[int, Field(ge=0, description="before the first token")] = 2
    tool_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    tool_rounds: Annotated[int, Field(ge=1, description="calls of tools in one reply")] = 6


class Context(BaseModel):
    """How much of the conversation the model is told, and what becomes of the rest."""

    model_config = ConfigDict(extra="forbid")

    max_tokens: Annotated[int, Field(ge=100, description="estimated, of the history")] = 8000
    when_full: Literal["drop", "summarise"] = "drop"


@dataclass
class _Shared:
    """What all sessions of one configuration use together."""

    llm: Llm
    search: WebSearch
    mcp: McpTools
    users: int = 0
    clashes: set[str] = field(default_factory=set)  # names of tools, told of once

    def again(self) -> _Shared:
        """The same with connections of its own, for another event loop."""
        return _Shared(self.llm.again(), self.search.again(), self.mcp.again())

    async def open(self) -> None:
        self.users += 1
        await self.llm.open()
        await self.mcp.open()

    async def close(self) -> None:
        self.users -= 1
        await self.mcp.close()
        if self.users <= 0:
            await self.search.close()
        await self.llm.close()


@dataclass
class _Asked:
    """A call as it arrives, in pieces."""

    id: str
    name: str
    text: str = ""


@dataclass
class _Planned:
    """A call that is complete. Without a tool `call.result` already says what is wrong."""

    call: Call
    tool: BoundTool | None = None


@dataclass
class _Round:
    """One answer of the model."""

    text: str = ""
    asked: list[_Asked] = field(default_factory=list)
    places: dict[Any, _Asked] = field(default_factory=dict)
    halves: Halves = field(default_factory=Halves)

    def take(self, chunk: Any) -> str:
        """The text of a chunk. Its pieces of calls are kept.

        A piece belongs to the last call at its index, unless it brings a new id.
        """
        for piece in getattr(chunk, "tool_call_chunks", None) or ():
            known = self.places.get(piece["index"])
            if known is None or (piece["id"] and known.id and piece["id"] != known.id):
                known = self.places[piece["index"]] = _Asked(piece["id"] or "", "")
                self.asked.append(known)
            known.id = known.id or piece["id"] or ""
            known.name += piece["name"] or ""
            known.text += piece["args"] or ""
        return self.halves.push(text_of(chunk))


class DefaultAgent(Agent):
    """An agent with a language model.

    `model`: a table for any OpenAI-compatible server (`model`, `base_url`, `api_key`, and what
    else langchain's ChatOpenAI takes), "provider:name", or a chat model of langchain.
    `voice_names` and `emotions` are what the model may choose from: None for all that the voice
    has, an empty list for no choice. `tools` takes the place of the built-in ones.
    """

    def __init__(
        self,
        model: dict[str, Any] | str | BaseChatModel,
        system_prompt: str | None = None,
        voice_names: list[str] | None = None,
        emotions: list[str] | None = None,
        tools: list[Any] | None = None,
        *,
        fillers: list[str] | None = None,
        limits: Limits | None = None,
        context: Context | None = None,
        web_search: WebSearchSettings | None = None,
        mcp: dict[str, McpServer] | None = None,
    ) -> None:
        self._prompt = SYSTEM if system_prompt is None else system_prompt
        self._voices = voice_names
        self._emotions = emotions
        self._fillers = FILLERS if fillers is None else tuple(fillers)
        self._limits = limits or Limits()
        self._context = context or Context()
        self._sources: list[Any] = list(NAMES if tools is None else tools)
        llm = Llm(model, timeout_s=self._limits.timeout_s, retries=self._limits.retries)
        self._shared = _Shared(llm, _search(web_search), McpTools(mcp or {}))
        self._begin()

    def _begin(self) -> None:
        self._history = History()
        self._speakers: dict[int, str] = {}
        self._tools = self._named(tool for source in self._sources for tool in self._bind(source))
        self._offer: tuple[object, dict[str, BoundTool], list[dict[str, Any]]] = ((), {}, [])
        self._next_filler = 0
        self._summing: asyncio.Task[None] | None = None
        self._open = False

    def _bind(self, source: Any) -> list[BoundTool]:
        if not isinstance(source, str):
            return bind(source)
        if source not in NAMES:
            raise ConfigError(f"there is no tool {source!r}; those built in: {', '.join(NAMES)}")
        return [built_in(source, self._shared.search)]

    def clone(self) -> DefaultAgent:
        """An agent for another session: its own history and tools, the same connections."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._sources = list(self._sources)
        twin._begin()
        return twin

    async def open(self) -> None:
        self._open = True
        await self._shared.open()

    async def close(self) -> None:
        if self._summing is not None:
            self._summing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._summing
        if self._open:
            self._open = False
            await self._shared.close()

    def add_tools(self, tools: Sequence[ToolLike | Callable[..., Any]]) -> None:
        """Offer these too. One of a name that is known takes the other's place."""
        for source in tools:
            self._tools = self._named([*self._tools.values(), *self._bind(source)])
            self._sources.append(source)
        self._offer = ((), {}, [])

    def _named(self, tools: Iterable[BoundTool]) -> dict[str, BoundTool]:
        """By their names. A later one takes the place of another, which is said once."""
        named: dict[str, BoundTool] = {}
        for tool in tools:
            if tool.name in named and tool.name not in self._shared.clashes:
                self._shared.clashes.add(tool.name)
                log.warning("the tool %s takes the place of another one", tool.name)
            named[tool.name] = tool
        return named

    def get_llm(self) -> Any:
        return self._shared.llm.model

    def get_chat_history(self) -> str:
        return self._history.text()

    # --- the reply ------------------------------------------------------------------------------

    def generate(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        """Blocks, on an event loop and connections of its own."""
        return asyncio.run(self._generate_alone(input))

    async def _generate_alone(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        twin = self.clone()
        ours, own = self._shared, self._shared.again()
        twin._shared, twin._history = own, self._history
        twin._tools = {
            name: replace(tool, call=own.search.search) if tool.call == ours.search.search else tool
            for name, tool in self._tools.items()
        }
        try:
            await own.mcp.open()
            return await twin.async_generate(input)
        finally:
            await own.close()

    async def async_generate(self, input: str | dict[str, Any]) -> str | tuple[str, list[Any]]:
        text, calls = "", []
        async with aclosing(self.async_generate_stream(input)) as parts:
            async for part in parts:
                if isinstance(part, Text):
                    text += part.text
                elif isinstance(part, ToolCall):
                    calls.append(part)
        return (text, calls) if calls else text

    async def async_generate_stream(
        self, input: str | dict[str, Any]
    ) -> AsyncGenerator[Text | ToolCall | ToolResult | Usage, None]:
        turn = _turn(input)
        messages = self._messages(turn)
        tools, schemas = self._offered(turn)
        said, spoke, called = "", False, 0  # `said` with fillers, which are not the model's words
        for round in range(self._limits.tool_rounds + 1):
            choice = "none" if round == self._limits.tool_rounds else ""
            answer = _Round()
            asking = self._shared.llm.stream(messages, schemas, choice=choice)
            async with aclosing(asking) as chunks:
                async for chunk in chunks:
                    if text := answer.take(chunk):
                        if not answer.text and said and not said[-1].isspace():
                            text = _gap(said, text) + text
                        answer.text += text
                        said += text
                        spoke = spoke or bool(text.strip())
                        yield Text(text=text)
                    if chunk.usage_metadata:
                        yield _usage(chunk.usage_metadata)
            if choice and not spoke:
                raise ModelError(
                    "The language model called tools again and again and said nothing."
                )
            if not (answer.asked or spoke or called or turn.event):
                raise ModelError(
                    "The language model ended its answer without a word; if it thinks first, give "
                    "it more tokens."
                )
            if choice or not answer.asked:
                return
            plans = [self._plan(asked, tools) for asked in answer.asked]
            called += len(plans)
            ready = [(plan.call, plan.tool) for plan in plans if plan.tool is not None]
            if not answer.text and (filler := self._filler(turn, [tool for _, tool in ready])):
                answer.text = _gap(said, filler) + filler
                said += answer.text
                yield Text(text=answer.text)
            # The engine asks for no part behind a call with effects until the turn is certain.
            for call, tool in ready:
                yield ToolCall(
                    call.name, call.args, id=call.id, effects=tool.effects, instant=tool.instant
                )
            done = await self._run(plans, turn)
            for call, _ in ready:
                result = done[call.id].result or ""
                self._history.late(call.id, self._quoted(result, call.name, called))
                yield ToolResult(id=call.id, name=call.name, content=result, args=call.args)
            if ready and all(tool.last for _, tool in ready):
                return
            told = [
                replace(call, result=self._quoted(call.result or "", call.name, called))
                for call in done.values()
            ]
            messages += call_messages(told, answer.text)

    def _messages(self, turn: AgentInput) -> list[Any]:
        from langchain_core.messages import SystemMessage

        user, speaker = turn.text, None
        if turn.speaker and not turn.event:
            self._speakers[turn.turn_id] = turn.speaker
            while len(self._speakers) > SPEAKERS:
                del self._speakers[next(iter(self._speakers))]
            user, speaker = _said_by(turn.speaker, user)
        system = system_message(self._prompt, turn, self._history.summary)
        now = Exchange(user=whole(user).strip() or "(nothing)", speaker=speaker)
        return [SystemMessage(whole(system)), *self._history.messages(now)]

    def _offered(self, turn: AgentInput) -> tuple[dict[str, BoundTool], list[dict[str, Any]]]:
        """The tools of this turn; the same list as before when nothing about them changed."""
        voices = turn.context.get("voices") if self._voices is None else self._voices
        emotions = turn.context.get("emotions") if self._emotions is None else self._emotions
        key = (tuple(voices or ()), tuple(emotions or ()), self._shared.mcp.version)
        if self._offer[0] != key:
            extra = [*voice_tools(key[0], key[1]), *self._shared.mcp.tools()]
            tools = self._named([*extra, *self._tools.values()])
            self._offer = (key, tools, [tool.schema for tool in tools.values()])
        return self._offer[1], self._offer[2]

    # --- tools ----------------------------------------------------------------------------------

    def _plan(self, asked: _Asked, tools: Mapping[str, BoundTool]) -> _Planned:
        # An id of our own, for some servers give one twice, or none. Mistral's take no other form.
        call = Call(uuid4().hex[:9], asked.name, {})
        tool = tools.get(asked.name)
        if tool is None:
            known = ", ".join(tools)
            return _Planned(
                replace(call, result=f"There is no such tool. Those there are: {known}.")
            )
        try:
            args = json.loads(asked.text or "{}")
            if not isinstance(args, dict):
                raise ValueError("they are no JSON object")
            args = as_json(args)
            tool.check(args)
        except ValueError as error:
            return _Planned(replace(call, result=f"The arguments were not taken: {error}."))
        return _Planned(replace(call, args=args), tool)

    async def _run(self, plans: Sequence[_Planned], turn: AgentInput) -> dict[str, Call]:
        """Every call with its result, by its id."""
        timeout_s = self._limits.tool_timeout_s
        jobs = [
            partial(run_tool, plan.tool, plan.call.args, turn, timeout_s)
            for plan in plans
            if plan.tool is not None
        ]
        results = iter(await run_together(jobs))
        return {
            plan.call.id: plan.call
            if plan.tool is None
            else replace(plan.call, result=next(results))
            for plan in plans
        }

    def _quoted(self, result: str, name: str, calls: int) -> str:
        """The result as the model is told it: cut to its share, a stranger's words marked.

        The results of a turn with so many calls shall not fill what the history may hold.
        """
        told = shortened(result, self._context.max_tokens // max(4, 2 * calls))
        tool = self._offer[1].get(name) or self._tools.get(name)
        # A copy is told the history before it gets the session's tools, so it knows not all.
        if tool is not None and not tool.untrusted:
            return told
        return untrusted(told, safe_name(name) or "unknown")

    def _filler(self, turn: AgentInput, tools: Sequence[BoundTool]) -> str:
        """What is said while slow tools work, in the script of the user; "" for instant ones."""
        if all(tool.instant for tool in tools):
            return ""
        script = script_of(turn.text)
        fitting = [filler for filler in self._fillers if script_of(filler) == script]
        if not fitting:
            return ""
        filler = fitting[self._next_filler % len(fitting)]
        self._next_filler += 1
        return filler

    # --- the history ----------------------------------------------------------------------------

    def commit(self, record: TurnRecord) -> None:
        speaker = self._speakers.pop(record.turn_id, None)
        results = tuple(
            replace(
                result,
                content=self._quoted(result.content, result.name, len(record.tool_calls)),
            )
            for result in record.tool_results
        )
        record = replace(record, tool_results=results)
        if speaker is not None and record.user.strip():
            user, name = _said_by(speaker, record.user)
            self._history.add(replace(record, user=user), name)
        else:
            self._history.add(record, None)
        self._bound_history()

    def _bound_history(self) -> None:
        limit = self._context.max_tokens
        history = self._history
        over = history.oldest_over(limit)
        if not over:
            return
        if self._context.when_full == "drop" or history.oldest_over(2 * limit):
            del history.exchanges[:over]
        elif self._summing is None or self._summing.done():
            with contextlib.suppress(RuntimeError):  # without a loop it is tried next time
                loop = asyncio.get_running_loop()
                self._summing = loop.create_task(self._sum_up(history.oldest_over(limit // 2)))

    async def _sum_up(self, count: int) -> None:
        """Put a summary in the place of the oldest exchanges, meanwhile the turns go on."""
        from langchain_core.messages import HumanMessage

        history = self._history
        oldest = history.exchanges[:count]
        text = f"{SUMMARISE}<earlier>{history.summary}</earlier>\n{history.text(oldest)}"
        try:
            summary = await self._shared.llm.complete([HumanMessage(text)])
        except ModelError as error:
            log.warning("the conversation was not summed up, so its beginning goes: %s", error)
            summary = history.summary
        if history.exchanges[:count] == oldest:
            history.summary = summary.strip()
            del history.exchanges[:count]


def _search(settings: WebSearchSettings | None) -> WebSearch:
    settings = settings or WebSearchSettings(api_key=None)
    key = settings.api_key or next(filter(None, map(os.environ.get, SERPER_KEYS)), None)
    return WebSearch(None if key is None else secret("web_search", key), settings.url)


def _turn(input: str | dict[str, Any]) -> AgentInput:
    if isinstance(input, AgentInput):
        return input
    if isinstance(input, str):
        return AgentInput(input)
    return AgentInput(str(input.get("content", "")), context=input.get("context"))


def _said_by(speaker: str, text: str) -> tuple[str, str | None]:
    return f"The current speaker is {speaker}, saying: {text}", safe_name(speaker)


def _usage(counted: Mapping[str, int]) -> Usage:
    return Usage(
        input_tokens=counted.get("input_tokens", 0), output_tokens=counted.get("output_tokens", 0)
    )


def _gap(before: str, text: str) -> str:
    """A space between two texts that were written apart, unless they need none."""
    if not before or before[-1].isspace() or text[:1].isspace() or CJK.match(text):
        return ""
    return " "
