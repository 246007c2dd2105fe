"""A small MCP server: on its pipes, or, with a port, over HTTP. `die` ends it."""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("shelf")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def title(number: int) -> str:
    """The title of a book."""
    return f"Book {number} of {os.environ.get('SHELF', 'nobody')}"


@server.tool()
def lend(number: int) -> str:
    """Lend a book."""
    if number < 0:
        raise ValueError("there is no such book")
    return f"lent {number}"


@server.tool()
def die(number: int) -> str:
    """End the server."""
    os._exit(number)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
