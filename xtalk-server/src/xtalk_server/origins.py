"""Which web pages may open a session: those of this server, and those that the operator names.

A browser names the page in the header Origin and cannot be made to lie about it, so a foreign
page that a visitor has open cannot use a server on the visitor's own machine. Devices and
command lines send no Origin and are not held up.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

__all__ = ["is_allowed"]

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_allowed(origin: str | None, host: str | None, allowed: Collection[str] = ()) -> bool:
    """Whether a page of this origin may connect to the server that was called by this host.

    `allowed` holds further origins such as "https://example.org", or "*" for every page.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    try:
        page = urlsplit(origin)
        server = urlsplit(f"{page.scheme}://{host or ''}")
        default = _PORTS.get(page.scheme)
        return (
            bool(page.hostname)
            and page.hostname == server.hostname
            and (page.port or default) == (server.port or default)
        )
    except ValueError:  # a port that is no number
        return False
