"""The tools of MCP servers: a command that talks on its pipes, or an address.

One connection to each server serves all sessions. A server that is down costs its tools, until
the next session begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from xtalk.agent import AgentInput
from xtalk.errors import ConfigError
from xtalk_agent_langchain.history import safe_name
from xtalk_agent_langchain.tools import BoundTool

__all__ = ["McpServer", "McpTools"]

log = logging.getLogger("xtalk.agent.langchain")

OPEN_S = 10.0
EXAMINE_S = 2.0


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
    """A live connection. It begins and ends in one task, as the client demands."""

    def __init__(self, name: str, server: McpServer) -> None:
        self.name = name
        self.tools: list[BoundTool] = []
        self._server = server
        self._client: Any = None
        self._broken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def open(self) -> None:
        """Returns when its tools are known, or it is plain that it does not answer."""
        loop = asyncio.get_running_loop()
        opened = loop.create_future()
        self._broken = asyncio.Event()
        self._task = loop.create_task(self._live(opened))
        # The limit stands here: the scopes that the client opens must not lie inside another.
        done, _ = await asyncio.wait([opened], timeout=OPEN_S)
        if not done:
            log.error("the MCP server %s took longer than %.0f s to answer", self.name, OPEN_S)
            await self.close()

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _live(self, opened: asyncio.Future[None]) -> None:
        try:
            async with AsyncExitStack() as stack:
                self._client = await stack.enter_async_context(await self._connect(stack))
                listed = (await self._client.list_tools()).tools
                self.tools = [self._tool(tool) for tool in listed if self._wanted(tool.name)]
                opened.set_result(None)
                await self._broken.wait()
        except Exception as error:  # a server is anybody's program
            log.error("the MCP server %s cannot be used", self.name, exc_info=error)
        finally:
            self.tools = []
            if not opened.done():
                opened.set_result(None)

    async def _examine(self) -> None:
        """A call failed: if nothing else works either, let the next session connect anew."""
        try:
            with anyio.fail_after(EXAMINE_S):
                await self._client.list_tools()
        except Exception as error:  # whatever a broken connection raises
            log.warning("the MCP server %s is gone (%s)", self.name, type(error).__name__)
            self.tools = []
            self._broken.set()

    async def _connect(self, stack: AsyncExitStack) -> Any:
        from mcp import Client, StdioServerParameters
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        server = self._server
        if server.command is not None:
            env = {name: value.get_secret_value() for name, value in server.env.items()}
            return Client(StdioServerParameters(command=server.command, args=server.args, env=env))
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
            try:
                return _text(await self._client.call_tool(tool.name, dict(args)))
            except Exception:
                await self._examine()
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
        self._connections = [_Connection(name, server) for name, server in servers.items()]
        self._users = 0
        self._opening: asyncio.Lock | None = None

    @property
    def version(self) -> tuple[tuple[str, ...], ...]:
        """Changes with what there is."""
        return tuple(tuple(tool.name for tool in each.tools) for each in self._connections)

    def tools(self) -> list[BoundTool]:
        return [tool for connection in self._connections for tool in connection.tools]

    async def open(self) -> None:
        """Connect to the servers that are not connected."""
        self._users += 1
        if not self._connections:
            return
        if self._users == 1:
            self._opening = asyncio.Lock()
        assert self._opening is not None
        async with self._opening, anyio.create_task_group() as group:
            for connection in self._connections:
                if not connection.alive:
                    group.start_soon(connection.open)

    async def close(self) -> None:
        self._users -= 1
        if self._users <= 0:
            for connection in self._connections:
                await connection.close()


def _need_mcp() -> None:
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise ConfigError('MCP servers need: pip install "xtalk-agent-langchain[mcp]"') from error


def _text(answer: Any) -> str:
    blocks = [getattr(block, "text", None) for block in answer.content]
    text = "\n".join(block for block in blocks if block)
    failed = getattr(answer, "is_error", False)
    return f"The tool failed: {text}" if failed else text or "Done."
