"""The tools that the agent brings along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from xtalk.agent import AgentInput
from xtalk_agent_langchain.tools import BoundTool, function_schema

__all__ = ["NAMES", "WebSearch", "WebSearchSettings", "built_in", "voice_tools"]

NAMES = ("get_time", "web_search", "set_speed", "silence")
SPEEDS = (0.5, 1.5)
SEARCH_S = 12.0
SERPER = "https://google.serper.dev/search"


class WebSearchSettings(BaseModel):
    """Where the tool `web_search` searches."""

    model_config = ConfigDict(extra="forbid")

    api_key: SecretStr | None = Field(
        None, description="of Serper; else SERPER_API_KEY or GOOGLE_SERPER_API_KEY"
    )
    url: Annotated[str, Field(description="of a service that answers as Serper does")] = SERPER


class WebSearch:
    """Asks Serper, through one pool of connections."""

    def __init__(self, key: SecretStr | None, url: str) -> None:
        self._key = key
        self._url = url
        self._http: Any = None

    def again(self) -> WebSearch:
        """The same with connections of its own, for another event loop."""
        return WebSearch(self._key, self._url)

    async def search(self, args: Mapping[str, Any], turn: AgentInput) -> str:
        import httpx

        if self._key is None:
            return "This server cannot search the web: it has no key for the search service."
        asked = {"q": str(args["query"])}
        asked |= {
            to: str(args[at]) for at, to in (("region", "gl"), ("lang", "hl")) if args.get(at)
        }
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=SEARCH_S)
        headers = {"X-API-KEY": self._key.get_secret_value()}
        try:
            answer = await self._http.post(self._url, json=asked, headers=headers)
            answer.raise_for_status()
            found = answer.json()["organic"][: int(args.get("max_results") or 5)]
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return "The web search failed: the search service did not answer as it should."
        return "\n\n".join(map(_hit, found)) or "Nothing was found."

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def _hit(hit: Mapping[str, Any]) -> str:
    return "\n".join(str(hit[name]) for name in ("title", "snippet", "link") if hit.get(name))


def built_in(name: str, search: WebSearch) -> BoundTool:
    """One of NAMES."""
    return {
        "get_time": _get_time,
        "web_search": lambda: _web_search(search),
        "set_speed": _set_speed,
        "silence": _silence,
    }[name]()


def voice_tools(voices: Sequence[str], emotions: Sequence[str]) -> list[BoundTool]:
    """The tools that change how it sounds; the engine obeys them when they are called."""
    tools = []
    if voices:
        tools.append(_choice("set_voice", "Speak with another voice from now on.", voices))
    if emotions:
        tools.append(_choice("set_emotion", "Speak with this emotion from now on.", emotions))
    return tools


def _choice(name: str, description: str, choices: Sequence[str]) -> BoundTool:
    def check(args: Mapping[str, Any]) -> None:
        if args.get("name") not in choices:
            raise ValueError(f"name must be one of {', '.join(choices)}")

    async def call(args: Mapping[str, Any], turn: AgentInput) -> str:
        return f"From now on: {args['name']}."

    properties = {"name": {"type": "string", "enum": list(choices)}}
    return BoundTool(
        name=name,
        schema=function_schema(name, description, properties, ["name"]),
        call=call,
        check=check,
        instant=True,
    )


def _set_speed() -> BoundTool:
    low, high = SPEEDS

    def check(args: Mapping[str, Any]) -> None:
        speed = args.get("speed")
        if (
            isinstance(speed, bool)
            or not isinstance(speed, int | float)
            or not low <= speed <= high
        ):
            raise ValueError(f"speed must be a number from {low} to {high}")

    async def call(args: Mapping[str, Any], turn: AgentInput) -> str:
        return f"The speed is {args['speed']} from now on."

    properties = {
        "speed": {"type": "number", "minimum": low, "maximum": high, "description": "1 is normal"}
    }
    return BoundTool(
        name="set_speed",
        schema=function_schema("set_speed", "Speak faster or slower.", properties, ["speed"]),
        call=call,
        check=check,
        instant=True,
    )


def _silence() -> BoundTool:
    async def call(args: Mapping[str, Any], turn: AgentInput) -> str:
        return "It was shown and not spoken."

    properties = {"text": {"type": "string", "description": "what to show"}}
    description = "Show a text and say nothing: when nothing should be said now."
    return BoundTool(
        name="silence",
        schema=function_schema("silence", description, properties, ["text"]),
        call=call,
        instant=True,
        last=True,
    )


def _get_time() -> BoundTool:
    async def call(args: Mapping[str, Any], turn: AgentInput) -> str:
        now = turn.now
        if zone := args.get("timezone"):
            try:
                now = now.astimezone(ZoneInfo(str(zone)))
            except (LookupError, ValueError, OSError):
                return f"There is no time zone {zone!r}; give an IANA name such as Asia/Shanghai."
        return _written(now, args.get("fmt"))

    properties = {
        "timezone": {"type": "string", "description": "IANA name; without it the server's own"},
        "fmt": {"type": "string", "description": "for strftime"},
    }
    return BoundTool(
        name="get_time",
        schema=function_schema("get_time", "The date and the time of day.", properties, []),
        call=call,
        effects=False,
        instant=True,
    )


def _written(now: datetime, fmt: object) -> str:
    return now.strftime(str(fmt) if fmt else "%A, %Y-%m-%d %H:%M %Z")


def _web_search(search: WebSearch) -> BoundTool:
    def check(args: Mapping[str, Any]) -> None:
        if not str(args.get("query") or "").strip():
            raise ValueError("query is empty")
        if str(args.get("max_results", 5)) not in map(str, range(1, 11)):
            raise ValueError("max_results must be a whole number from 1 to 10")

    properties = {
        "query": {"type": "string"},
        "max_results": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
        "region": {"type": "string", "description": "country code, as us or cn"},
        "lang": {"type": "string", "description": "language code, as en or zh-cn"},
    }
    return BoundTool(
        name="web_search",
        schema=function_schema("web_search", "Search the web.", properties, ["query"]),
        call=search.search,
        check=check,
        effects=False,
        untrusted=True,
    )
