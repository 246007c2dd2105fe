"""The tools of MCP servers: a command that talks on its pipes, or an address.

One connection to each server serves all sessions, and only the first of them waits for it. A
server that is down costs its tools until it is back.

    connecting --> connected --a call fails, and so does a question--> pause --> connecting
        +--------------- fails, or takes longer than OPEN_S -----------^

Each pause is twice as long as the last, until a connection has lasted longer than it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from xtalk.agent import AgentInput
from xtalk.errors import ConfigError
from xtalk.log_utils import keep_discreet
from xtalk_agent_langchain.history import safe_name
from xtalk_agent_langchain.tools import BoundTool

__all__ = ["McpServer", "McpTools"]

log = logging.getLogger("xtalk.agent.langchain")

OPEN_S = 10.0
EXAMINE_S = 2.0  # for another answer when a call had all its time
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0
PAGES = 100  # of one server's list of tools: one that never ends is broken


class McpServer(BaseModel):
    """`command` with `args` and `env`, or `url` with `headers`."""

    model_config = ConfigDict(extra="forbid")

    command: str | None = None
    args: list[str] = Field(default_factory=list)
    env: dict[str, SecretStr] = Field(default_factory=dict)
    url: str | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tools: list[str] | None = Field(None, description="only these; else all that it has")

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("give either command or url")
        return self


class _Connection:
    """What keeps up the connection to one server. `tools` are those that can be called now.

    A connection begins and ends in one task, as the client demands. Once ended it stays so.
    """

    def __init__(self, name: str, server: McpServer) -> None:
        self.name = name
        self.tools: list[BoundTool] = []
        self._server = server
        self._client: Any = None
        self._since: float | None = None  # the loop's time when it was connected
        self._broken = asyncio.Event()
        self._given_up = False
        self._keeping: asyncio.Task[None] | None = None
        self._examining: asyncio.Task[None] | None = None
        self._patience = anyio.CancelScope()  # of the examination

    def begin(self) -> asyncio.Event:
        """Connect. The event comes when the tools are known, or it is plain that none will be."""
        tried = asyncio.Event()
        self._keeping = asyncio.get_running_loop().create_task(self._keep(tried))
        self._keeping.add_done_callback(lambda _: tried.set())
        return tried

    def end(self) -> list[asyncio.Task[None]]:
        """Disconnect, for good. It is done when these tasks are."""
        tasks = [task for task in (self._examining, self._keeping) if task is not None]
        self._examining = self._keeping = None
        for task in tasks:
            task.cancel()
        return tasks

    async def _keep(self, tried: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        pause_s = FIRST_PAUSE_S
        while True:
            await self._once(tried)
            tried.set()
            if self._since is not None and loop.time() - self._since > pause_s:
                pause_s = FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _once(self, tried: asyncio.Event) -> None:
        """One connection, from its beginning to its end."""
        loop = asyncio.get_running_loop()
        self._since = None
        self._broken = asyncio.Event()
        self._given_up = False
        live = loop.create_task(self._live(tried))
        # The limit stands here: the scopes that the client opens must not lie inside another.
        limit = loop.call_later(OPEN_S, self._give_up, live, tried)
        try:
            await asyncio.wait([live])
        finally:
            limit.cancel()
            self._end(live)
            await asyncio.wait([live])

    def _give_up(self, live: asyncio.Task[None], tried: asyncio.Event) -> None:
        if self._since is None:
            log.error("the MCP server %s took longer than %.0f s to answer", self.name, OPEN_S)
            self._end(live)
            tried.set()

    def _end(self, live: asyncio.Task[None]) -> None:
        """A client that is ending already must not be cancelled: it would wait for ever."""
        if self._since is not None:
            self._broken.set()
        elif not self._given_up:
            self._given_up = True
            live.cancel()

    async def _live(self, tried: asyncio.Event) -> None:
        try:
            async with AsyncExitStack() as stack:
                self._client = await stack.enter_async_context(await self._connect(stack))
                listed = await self._listed()
                self.tools = [self._tool(tool) for tool in listed if self._wanted(tool.name)]
                self._since = asyncio.get_running_loop().time()
                tried.set()
                await self._broken.wait()
                self.tools = []  # now, for a server that hangs takes its time to end
        except Exception as error:  # a server is anybody's program
            # Without the texts of the client: they may hold the address, and that a key.
            log.error("the MCP server %s cannot be used (%s)", self.name, _kinds(error))
        finally:
            self.tools = []

    async def _listed(self) -> list[Any]:
        """Its tools, of all pages."""
        tools: list[Any] = []
        cursor = None
        for _ in range(PAGES):
            page = await self._client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise ValueError(f"the list of its tools has more than {PAGES} pages")

    def _suspect(self, limit_s: float) -> None:
        """Ask something else, beside the conversation; an answer may take `limit_s`."""
        if self._keeping is None:
            return
        deadline = anyio.current_time() + limit_s
        if self._examining is None or self._examining.done():
            self._patience = anyio.CancelScope(deadline=deadline)
            self._examining = asyncio.get_running_loop().create_task(self._examine())
        else:
            self._patience.deadline = min(self._patience.deadline, deadline)

    async def _examine(self) -> None:
        """If nothing works any more, connect anew."""
        client, broken = self._client, self._broken
        try:
            with self._patience as patience:
                await client.list_tools(cache_mode="refresh")
            if patience.cancelled_caught:
                raise TimeoutError
        except Exception as error:  # whatever a broken connection raises
            log.warning("the MCP server %s is gone (%s)", self.name, type(error).__name__)
            broken.set()

    async def _connect(self, stack: AsyncExitStack) -> Any:
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        server = self._server
        if server.command is not None:
            env = {name: value.get_secret_value() for name, value in server.env.items()}
            return Client(StdioServerParameters(command=server.command, args=server.args, env=env))
        # They write addresses, which may hold a key: the last one also to warn of a redirection.
        keep_discreet("httpx2", "httpcore2", "mcp")
        keep_discreet("mcp.client.streamable_http", level=logging.CRITICAL)
        headers = {name: value.get_secret_value() for name, value in server.headers.items()}
        http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
        return Client(streamable_http_client(str(server.url), http_client=http))

    def _wanted(self, name: str) -> bool:
        return self._server.tools is None or name in self._server.tools

    def _tool(self, tool: Any) -> BoundTool:
        name = safe_name(tool.name) or "unnamed"
        about = tool.model_dump(by_alias=True)
        function = {
            "name": name,
            "description": about.get("description") or name,
            "parameters": about["inputSchema"],
        }
        hints = about.get("annotations") or {}

        async def call(args: Mapping[str, Any], turn: AgentInput) -> str:
            deadline = anyio.current_effective_deadline()
            limit_s = deadline - anyio.current_time()
            try:
                return _text(await self._client.call_tool(tool.name, dict(args)))
            except BaseException:  # also when it was cancelled
                # When the user interrupts it, a server that does one thing at a time is still busy:
                # unless it gets the time that the call had, all sessions lose a sound connection.
                late = anyio.current_time() >= deadline
                self._suspect(EXAMINE_S if late else limit_s)
                raise

        return BoundTool(
            name=name,
            schema={"type": "function", "function": function},
            call=call,
            effects=not hints.get("readOnlyHint"),
            untrusted=True,
        )


class McpTools:
    """The tools of all servers. `open` and `close` are counted."""

    def __init__(self, servers: Mapping[str, McpServer]) -> None:
        if servers:
            _need_mcp()
        self._servers = servers
        self._connections: list[_Connection] = []
        self._users = 0
        self._opened = 0

    def again(self) -> McpTools:
        """The same servers with connections of its own, for another event loop."""
        return McpTools(self._servers)

    @property
    def version(self) -> tuple[object, ...]:
        """Changes with what there is."""
        names = (tuple(tool.name for tool in each.tools) for each in self._connections)
        return (self._opened, *names)

    def tools(self) -> list[BoundTool]:
        return [tool for connection in self._connections for tool in connection.tools]

    async def open(self) -> None:
        """The first connects to all servers, and waits OPEN_S for them at most."""
        self._users += 1
        if self._users == 1:
            # New ones: the last may still be ending, and a server may take its time for that.
            self._connections = [_Connection(*server) for server in self._servers.items()]
            self._opened += 1
            for tried in [connection.begin() for connection in self._connections]:
                await tried.wait()

    async def close(self) -> None:
        self._users -= 1
        if self._users <= 0:
            connections, self._connections = self._connections, []
            if ending := [task for connection in connections for task in connection.end()]:
                await asyncio.wait(ending)


def _need_mcp() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise ConfigError('MCP servers need: pip install "xtalk-agent-langchain[mcp]"') from error


def _kinds(error: BaseException) -> str:
    """The types of what went wrong, out of the groups that tasks raise."""
    inner = getattr(error, "exceptions", ())
    return ", ".join(map(_kinds, inner)) or type(error).__name__


def _text(answer: Any) -> str:
    """What it says. Of what is no text the kind, so that the model knows that there is more."""
    text = "\n".join(filter(None, map(_said, answer.content)))
    if not text and answer.structured_content is not None:
        text = json.dumps(answer.structured_content, ensure_ascii=False)
    return f"The tool failed: {text}" if answer.is_error else text or "Done."


def _said(block: Any) -> str:
    if block.type == "resource_link":
        return f"({block.name}: {block.uri})"
    holder = block.resource if block.type == "resource" else block
    text = getattr(holder, "text", None)
    return f"({block.type} {holder.mime_type}, which is no text)" if text is None else str(text)
