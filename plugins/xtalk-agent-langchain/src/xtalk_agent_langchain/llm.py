"""A chat model that all sessions share: one pool of connections, kept warm, and its failures.

    str "provider:name"   langchain's init_chat_model
    dict                  any OpenAI-compatible server
    object                a chat model of langchain, as it is

A request is repeated only while nothing of its answer has arrived. One that took too long is
repeated once, so that by default the agent gives up before the engine does, which would wait 60 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import anyio
from pydantic import SecretStr, ValidationError

from xtalk.characters import whole
from xtalk.errors import ConfigError, ModelError, ModelTimeout
from xtalk.log_utils import CLIENTS as LOGGERS
from xtalk.log_utils import keep_discreet
from xtalk.model_types import BaseChatModel
from xtalk.remote import read_key

__all__ = ["NO_KEY", "Llm", "address", "failure", "secret", "sentence", "text_of"]

log = logging.getLogger("xtalk.agent.langchain")

KEEPALIVE_S = 120.0  # a conversation pauses for longer than the 5 s of most clients
WARM_S = 5.0
PAUSE_S = 0.25  # before the first repetition; each later one waits twice as long
PATIENCE_S = 5.0  # a server that asks for more will not answer in time for a conversation
STEPS = 5
NO_KEY = "none"  # local servers want none, but the client sends one

# Where the exceptions of chat models' clients come from.
CLIENTS = {"openai", "httpx", "httpx2", "httpcore", "httpcore2", "anthropic", "google", "groq"}


class Llm:
    """`open` and `close` are counted: the first opens the connections, the last closes them."""

    def __init__(
        self,
        model: dict[str, Any] | str | BaseChatModel,
        *,
        timeout_s: float = 20.0,
        retries: int = 2,
        owner: str = "DefaultAgent",
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._arguments: dict[str, Any] | None = None
        self._model: Any = None
        self._http: Any = None
        self._users = 0
        self._warming: asyncio.Task[None] | None = None
        self._bound: tuple[Any, Any] = (None, None)
        if isinstance(model, str) and model.startswith("openai:"):
            model = {"model": model.partition(":")[2]}
        if isinstance(model, str):
            self._model = _by_name(model, owner)
        elif isinstance(model, dict):
            self._arguments = _arguments(model, owner, timeout_s)
            try:
                self._connect()  # so that wrong arguments are told now
            except ValidationError as error:
                raise ConfigError(f"{owner}: model: {sentence(error)}") from None
        else:
            self._model = model

    @property
    def model(self) -> Any:
        """The chat model of langchain."""
        if self._model is None:
            self._connect()
        return self._model

    def again(self) -> Llm:
        """The same model with connections of its own, for another event loop."""
        twin = Llm.__new__(Llm)
        twin.__dict__.update(self.__dict__, _users=0, _http=None, _warming=None)
        if self._arguments is not None:
            twin._model = None
            twin._bound = (None, None)
        return twin

    async def open(self) -> None:
        """Connect in the background, so that a session's first question need not wait for it."""
        self._users += 1
        if self._arguments is None:
            return
        self._connect()
        if self._warming is None or self._warming.done():
            self._warming = asyncio.get_running_loop().create_task(self._warm())

    async def close(self) -> None:
        """Close the connections when nobody uses them any more."""
        self._users -= 1
        if self._users > 0 or self._arguments is None:
            return
        warming, self._warming = self._warming, None
        if warming is not None:
            warming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await warming
        http, self._http, self._model = self._http, None, None
        self._bound = (None, None)
        if http is not None:
            await http.aclose()
        for _ in range(STEPS):  # the loop closes the client's generators in steps of its own
            await asyncio.sleep(0)

    def _connect(self) -> None:
        from langchain_openai import ChatOpenAI
        from openai import DEFAULT_CONNECTION_LIMITS, DefaultAsyncHttpxClient

        if self._http is not None or self._arguments is None:
            return
        keep_discreet(*LOGGERS)
        limits = type(DEFAULT_CONNECTION_LIMITS)(
            max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S
        )
        self._http = DefaultAsyncHttpxClient(limits=limits, timeout=self._timeout_s)
        self._model = ChatOpenAI(**self._arguments, http_async_client=self._http)

    async def _warm(self) -> None:
        """Any answer will do: it leaves a connection in the pool."""
        address = str(self.model.root_async_client.base_url).rstrip("/") + "/models"
        try:
            with anyio.fail_after(WARM_S):
                await self._http.get(address)
        except Exception as error:
            if failure(error) is None:
                raise
            log.info("the language model's server does not answer yet (%s)", type(error).__name__)

    # --- asking ---------------------------------------------------------------------------------

    async def stream(
        self, messages: Sequence[Any], tools: Sequence[dict[str, Any]] = (), *, choice: str = ""
    ) -> AsyncGenerator[Any, None]:
        """The chunks of one answer. ModelError, in plain words, when there is none.

        Closing it closes the connection to the server.
        """
        attempt = 0
        while True:
            begun = False
            try:
                async with aclosing(self._once(messages, tools, choice)) as chunks:
                    async for chunk in chunks:
                        begun = begun or _says(chunk)
                        yield chunk
                if begun:
                    return
                failed: tuple[ModelError, float | None] = (
                    ModelError("The language model answered with nothing that can be read."),
                    PAUSE_S,
                )
            except Exception as error:  # whatever the client of some provider raises
                found = failure(error)
                if found is None:
                    raise
                failed = found
            told, pause_s = failed
            retries = min(self._retries, 1) if isinstance(told, ModelTimeout) else self._retries
            if begun or pause_s is None or attempt >= retries:
                raise told from None  # the cause may hold the key
            await anyio.sleep(max(pause_s, PAUSE_S * 2**attempt))
            attempt += 1

    async def _once(
        self, messages: Sequence[Any], tools: Sequence[dict[str, Any]], choice: str
    ) -> AsyncGenerator[Any, None]:
        """The chunks of one request. ModelError when they end before the answer does."""
        ending = ""
        async with aclosing(self._asked(messages, tools, choice)) as chunks:
            while True:
                with anyio.fail_after(self._timeout_s):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                ending = _ending(chunk) or ending
                yield chunk
        if ending == "content_filter":
            raise ModelError("The language model's server held the answer back (content_filter).")
        if not ending and self._arguments is not None:  # other providers tell it in their own ways
            raise ModelError("The language model's answer broke off: its end did not come.")

    def _asked(
        self, messages: Sequence[Any], tools: Sequence[dict[str, Any]], choice: str
    ) -> AsyncGenerator[Any, None]:
        more = {"tool_choice": choice} if choice and tools else {}
        stream: AsyncGenerator[Any, None] = self._with(tools).astream(list(messages), **more)
        return stream

    def _with(self, tools: Sequence[dict[str, Any]]) -> Any:
        """The model that knows these tools; it is made anew only when they are others."""
        if not tools:
            return self.model
        known, bound = self._bound
        if known is not tools:
            bound = self.model.bind_tools(tools)
            self._bound = (tools, bound)
        return bound

    async def complete(self, messages: Sequence[Any]) -> str:
        """The whole answer as text."""
        text = ""
        async with aclosing(self.stream(messages)) as chunks:
            async for chunk in chunks:
                text += text_of(chunk)
        return whole(text)


def text_of(chunk: Any) -> str:
    """The words of a chunk, without what a model thinks by itself."""
    content = chunk.content
    if isinstance(content, str):
        return content
    blocks = (block for block in content if isinstance(block, dict))
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def _says(chunk: Any) -> bool:
    """Whether it holds a part of the answer, or says that the answer is over."""
    return bool(chunk.content or getattr(chunk, "tool_call_chunks", None) or _ending(chunk))


def _ending(chunk: Any) -> str:
    """Why the answer is over, or "": as chat completions tell it, or as responses do."""
    about = chunk.response_metadata
    return str(about.get("finish_reason") or about.get("status") or "")


def _by_name(name: str, owner: str) -> Any:
    from langchain.chat_models import init_chat_model

    try:
        return init_chat_model(name)
    except ValueError as error:
        raise ConfigError(
            f"{owner}: model is {name!r}, which langchain does not know ({error}); "
            'write "provider:name", or a table for an OpenAI-compatible server'
        ) from None


def _arguments(given: dict[str, Any], owner: str, timeout_s: float) -> dict[str, Any]:
    """What ChatOpenAI is made of: the given, with its key hidden and repetition left to us."""
    _refuse_unknown(given, owner)
    arguments = dict(given)
    name = arguments.pop("model_name", None) or arguments.pop("model", None)
    if not name:
        raise ConfigError(f"{owner}: model has no name; set model.model")
    key = arguments.pop("openai_api_key", None) or arguments.pop("api_key", None)
    base = address(arguments.pop("openai_api_base", None) or arguments.pop("base_url", None))
    key = key or os.environ.get("OPENAI_API_KEY") or (NO_KEY if base else None)
    if key is None:
        raise ConfigError(
            f"{owner}: there is no key; set model.api_key or OPENAI_API_KEY, "
            "or model.base_url for a server that needs none"
        )
    arguments.setdefault("timeout", timeout_s)
    arguments.setdefault("stream_usage", True)
    arguments["stream_chunk_timeout"] = None  # ours is cheaper than a task for each token
    arguments["max_retries"] = 0
    arguments["model"] = name
    arguments["api_key"] = secret(owner, key)
    if base:
        arguments["base_url"] = base
    return arguments


def _refuse_unknown(given: dict[str, Any], owner: str) -> None:
    """The client would take a setting that it does not know, and fail with each question."""
    from langchain_openai import ChatOpenAI

    fields = ChatOpenAI.model_fields
    known = {*fields, *(field.alias for field in fields.values() if field.alias)}
    for name in given.keys() - known:
        near = difflib.get_close_matches(name, known, 1)
        raise ConfigError(
            f"{owner}: model has no setting {name!r}; "
            + (f"did you mean {near[0]}?" if near else "what only your server knows is extra_body")
        )


def address(given: str | None) -> str | None:
    """Where the server is: as given, or by the environment; None for OpenAI's own."""
    return given or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")


def secret(owner: str, key: SecretStr | str) -> SecretStr:
    """Without the newline that a key in a file ends with. ConfigError if no header can hold it."""
    return SecretStr(read_key(owner, key))


def sentence(error: ValidationError) -> str:
    """What is wrong with each field, without what was given: it may be a key."""
    wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return "; ".join(wrong)


def failure(
    error: Exception, who: str = "language model"
) -> tuple[ModelError, float | None] | None:
    """What to tell, and the pause before another attempt if one is worth while.

    None for an error that is no failure of the service: it passes as it is.
    """
    if isinstance(error, ModelError):
        return error, PAUSE_S
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _refusal(error, status, who)
    name = type(error).__name__
    if isinstance(error, TimeoutError | asyncio.TimeoutError) or "Timeout" in name:
        return ModelTimeout(f"The {who} took too long to answer."), PAUSE_S
    known = any(base.__module__.partition(".")[0] in CLIENTS for base in type(error).__mro__)
    if (known and "Connect" in name) or isinstance(error, OSError):
        return ModelError(f"The {who}'s server cannot be reached."), PAUSE_S
    if isinstance(error, UnicodeError):
        return ModelError(f"What the {who} was to be told cannot be sent ({name})."), None
    if known or isinstance(error, ValueError):  # also of langchain's, for an empty stream
        return ModelError(f"The {who}'s answer broke off ({name})."), PAUSE_S
    return None


def _refusal(error: Exception, status: int, who: str) -> tuple[ModelError, float | None]:
    code = getattr(error, "code", None)
    log.warning("the %s's server answered %d (%s)", who, status, code)
    if status in (401, 403):
        return ModelError(f"The {who}'s server refused the key ({status})."), None
    if status == 429 and code == "insufficient_quota":
        return ModelError(f"The {who}'s account has no credit left (429)."), None
    if status in (408, 409, 429) or status >= 500:
        pause_s = _asked_to_wait(error)
        told = ModelError(f"The {who}'s server is overloaded or broken ({status}).")
        return told, pause_s if pause_s <= PATIENCE_S else None
    if status == 404:
        return ModelError(
            f"The {who}'s server knows no such model or address ({status}): "
            "look at model and base_url in the configuration."
        ), None
    return ModelError(f"The {who}'s server refused the request ({status})."), None


def _asked_to_wait(error: Exception) -> float:
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(PAUSE_S, float(headers.get("retry-after", 0)))
    except ValueError:  # a date
        return PAUSE_S
