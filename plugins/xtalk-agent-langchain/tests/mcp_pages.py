"""An MCP server on its pipes whose list of tools has two pages. With "slow" it has to be killed."""

from __future__ import annotations

import sys
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.types import ListToolsResult, Tool


async def listed(context: Any, params: Any) -> ListToolsResult:
    schema = {"type": "object", "properties": {}}
    if params and params.cursor:
        return ListToolsResult(tools=[Tool(name="second", input_schema=schema)])
    return ListToolsResult(tools=[Tool(name="first", input_schema=schema)], next_cursor="2")


async def main() -> None:
    server: Any = Server("pages", on_list_tools=listed)
    async with stdio_server() as (reader, writer):
        await server.run(reader, writer, server.create_initialization_options())
    if "slow" in sys.argv:
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main)
