"""Everything that can serve as a tool, in one shape that the agent runs.

    tool of langchain, tool of xtalk       as it is
    function with parameters, docstring    a tool of that name
    function or class without parameters   a factory: called once for each session

A langchain tool says more about itself in `metadata`, by the names that `xtalk.agent.Tool` has for
it: `effects` (True unless said otherwise), `instant`, `untrusted` and `timeout_s`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import anyio
from pydantic import BaseModel, ValidationError

from xtalk.agent import AgentInput, Tool, ToolLike
from xtalk.characters import whole
from xtalk.errors import ConfigError
from xtalk.threads import run_in_thread
from xtalk_agent_langchain.llm import sentence

__all__ = ["BoundTool", "bind", "run_together", "run_tool"]

log = logging.getLogger("xtalk.agent.langchain")

UNTRUSTED = "local_search", "web_search"
CALLS = 8  # of one tool in threads at the same time, those that were given up among them
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}

_free: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, anyio.Semaphore]]
_free = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class BoundTool:
    """A tool of one session. `schema` is what the model is told, as OpenAI writes functions.

    ConfigError for a name that servers refuse, and with it every request that offers the tool.
    `check` raises ValueError, in a sentence, for arguments that the tool cannot take. `last`
    ends the reply: the model is not asked what it makes of the answer.
    """

    name: str
    schema: dict[str, Any]
    call: Callable[[Mapping[str, Any], AgentInput], Awaitable[Any]]
    check: Callable[[Mapping[str, Any]], None] = lambda args: None
    effects: bool = True
    instant: bool = False
    untrusted: bool = False
    last: bool = False
    timeout_s: float | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ConfigError(
                f"the tool {self.name!r} has a name that language models' servers refuse: give it "
                "one of at most 64 letters from a to z, digits, _ and -"
            )


def bind(source: Any) -> list[BoundTool]:
    """The tools that this is, or makes. ConfigError when it is none."""
    made = _made(source)
    if isinstance(made, Sequence) and not isinstance(made, str):
        return [tool for each in made for tool in bind(each)]
    if isinstance(made, BoundTool):
        return [made]
    if isinstance(made, Tool):
        return [_ours(made)]
    if _is_langchain(made):
        return [_langchain(made)]
    if inspect.isroutine(made) and _parameters(made):
        return [_langchain(_from_function(made))]
    if isinstance(made, ToolLike) and not isinstance(made, type):
        return [_ours(Tool(**_likeness(made)))]
    raise ConfigError(
        f"{_called(source)} is no tool: give a langchain tool, an xtalk.agent.Tool, a function "
        "with parameters and a docstring, or a function without parameters that returns one"
    )


def _made(source: Any) -> Any:
    """What a factory makes; anything else as it is."""
    if isinstance(source, Tool | BoundTool) or _is_langchain(source):
        return source
    factory = isinstance(source, type) or inspect.isroutine(source)
    if not factory or _parameters(source):
        return source
    try:
        return source()
    except Exception as error:
        text = f"the tool factory {_called(source)} failed: {type(error).__name__}: {error}"
        raise ConfigError(text) from error


def _parameters(function: Any) -> list[str]:
    """The names of the parameters that must or may be given by position or name."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind not in several]


def _called(source: Any) -> str:
    return str(getattr(source, "__name__", None) or repr(type(source).__name__))


def _is_langchain(source: Any) -> bool:
    modules = {base.__module__.partition(".")[0] for base in type(source).__mro__}
    return "langchain_core" in modules and hasattr(source, "ainvoke")


def _from_function(function: Callable[..., Any]) -> Any:
    from langchain_core.tools import StructuredTool

    if not inspect.getdoc(function):
        raise ConfigError(f"the tool {_called(function)} needs a docstring: the model reads it")
    if inspect.iscoroutinefunction(function):
        return StructuredTool.from_function(coroutine=function)
    return StructuredTool.from_function(function)


def _langchain(tool: Any) -> BoundTool:
    from langchain_core.tools import BaseTool
    from langchain_core.utils.function_calling import convert_to_openai_tool

    about = dict(getattr(tool, "metadata", None) or {})
    schema = convert_to_openai_tool(tool)
    if hasattr(tool, "coroutine"):  # made of functions
        asynchronous = tool.coroutine is not None
    else:
        asynchronous = getattr(type(tool), "_arun", BaseTool._arun) is not BaseTool._arun

    async def call(args: Mapping[str, Any], turn: AgentInput) -> Any:
        if asynchronous:
            return await tool.ainvoke(dict(args))
        return await _in_thread(tool.name, tool.invoke, dict(args))

    return BoundTool(
        name=tool.name,
        schema=schema,
        call=call,
        check=_check_of(tool, schema),
        effects=bool(about.get("effects", True)),
        instant=bool(about.get("instant", False)),
        untrusted=bool(about.get("untrusted", tool.name in UNTRUSTED)),
        timeout_s=about.get("timeout_s"),
    )


def _ours(tool: Tool) -> BoundTool:
    async def call(args: Mapping[str, Any], turn: AgentInput) -> Any:
        if inspect.iscoroutinefunction(tool.call):
            return await tool.call(**args)
        return await _in_thread(tool.name, tool.invoke, dict(args))

    needed = [name for name, about in tool.parameters.items() if "default" not in about]
    schema = function_schema(tool.name, tool.description, tool.parameters, needed)
    return BoundTool(
        name=tool.name,
        schema=schema,
        call=call,
        check=_by_schema(schema["function"]["parameters"]),
        effects=tool.effects,
        instant=tool.instant,
        untrusted=tool.untrusted or tool.name in UNTRUSTED,
        timeout_s=tool.timeout_s,
    )


def _likeness(tool: ToolLike) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.args,
        "call": lambda **args: tool.invoke(args),
    }


def function_schema(
    name: str, description: str, properties: Mapping[str, Any], needed: Sequence[str]
) -> dict[str, Any]:
    """A function as OpenAI writes it."""
    parameters = {"type": "object", "properties": dict(properties), "required": list(needed)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


# --- arguments -----------------------------------------------------------------------------------


def _check_of(tool: Any, schema: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
    model = getattr(tool, "args_schema", None)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return _by_model(model)
    return _by_schema(schema["function"].get("parameters", {}))


def _by_model(model: type[BaseModel]) -> Callable[[Mapping[str, Any]], None]:
    """A check that the arguments are what this pydantic model takes."""

    def check(args: Mapping[str, Any]) -> None:
        try:
            model.model_validate(dict(args))
        except ValidationError as error:
            raise ValueError(sentence(error)) from None

    return check


def _by_schema(schema: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], None]:
    """A check of what is needed, what is known, and each argument's type and choices."""
    properties = schema.get("properties", {})
    open_to_more = schema.get("additionalProperties", not properties)

    def check(args: Mapping[str, Any]) -> None:
        for name in schema.get("required", ()):
            if name not in args:
                raise ValueError(f"{name} is missing")
        for name, value in args.items():
            if name not in properties and not open_to_more:
                raise ValueError(f"there is no argument {name}")
            _check_value(name, value, properties.get(name, {}))

    return check


def _check_value(name: str, value: object, about: Mapping[str, Any]) -> None:
    if value is None and about.get("default", 0) is None:
        return
    kind = about.get("type")
    if isinstance(kind, str) and not _is_of(value, kind):
        raise ValueError(f"{name} must be of type {kind}")
    if "enum" in about and value not in about["enum"]:
        raise ValueError(f"{name} must be one of {', '.join(map(str, about['enum']))}")


def _is_of(value: object, kind: str) -> bool:
    """Whether JSON Schema calls it so: there 3.0 is an integer, and a boolean is no number."""
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    if isinstance(value, float) and kind == "integer":
        return value.is_integer()
    return isinstance(value, TYPES.get(kind, object))


# --- running -------------------------------------------------------------------------------------


async def run_together(jobs: Sequence[Callable[[], Awaitable[str]]]) -> list[str]:
    """What the jobs answer, in their order, done at the same time."""
    answers = [""] * len(jobs)

    async def run(index: int) -> None:
        answers[index] = await jobs[index]()

    async with anyio.create_task_group() as group:
        for index in range(len(jobs)):
            group.start_soon(run, index)
    return answers


async def _in_thread(name: str, function: Callable[..., Any], /, *args: Any) -> Any:
    """What the function of that tool returns, in one of the threads that models use too.

    Only CALLS of one tool have a thread, until it comes back: nothing can stop one that hangs.
    """
    free = _free.setdefault(asyncio.get_running_loop(), {}).setdefault(name, anyio.Semaphore(CALLS))
    await free.acquire()
    return await run_in_thread(function, *args, on_return=free.release)


async def run_tool(
    tool: BoundTool, args: Mapping[str, Any], turn: AgentInput, timeout_s: float
) -> str:
    """What the tool answers, as text; a failure is an answer too, so that the model can react."""
    limit_s = tool.timeout_s or timeout_s
    with anyio.move_on_after(limit_s):
        try:
            return _as_text(await tool.call(args, turn))
        except Exception as error:  # a tool may be anybody's code
            log.warning("the tool %s failed", tool.name, exc_info=error)
            return f"The tool {tool.name} failed: {type(error).__name__}."
    return f"The tool {tool.name} took longer than {limit_s:g} s and was given up."


def _as_text(answer: Any) -> str:
    if not isinstance(answer, str):
        answer = json.dumps(answer, ensure_ascii=False, default=str)
    return whole(answer)
