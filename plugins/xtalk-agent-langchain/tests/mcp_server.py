"""A small MCP server: on its pipes, or, with a port, over HTTP.

`die` ends it, `stare` stops it for good, `ponder` for as long as a test wants.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from mcp.server.mcpserver import MCPServer
from mcp.types import (
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextResourceContents,
    ToolAnnotations,
)

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


@server.tool()
async def stare(number: int) -> str:
    """Answer nothing any more, to nobody."""
    time.sleep(3600)  # noqa: ASYNC251 (the loop shall stand still)
    return "never"


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
async def ponder(number: int) -> str:
    """Do nothing else until whoever listens on that port hangs up."""
    with socket.create_connection(("127.0.0.1", number)) as asker:
        asker.recv(1)
    return "pondered"


@server.tool()
def leaf(number: int) -> list[EmbeddedResource | ImageContent | ResourceLink]:
    """A page with its picture."""
    text = TextResourceContents(uri="file:///leaf.txt", text=f"This is page {number}.")
    return [
        EmbeddedResource(resource=text),
        ImageContent(data="AAAA", mime_type="image/png"),
        ResourceLink(name="more", uri="file:///more.txt"),
    ]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
