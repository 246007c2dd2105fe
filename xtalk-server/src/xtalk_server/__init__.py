"""The server as a plugin: the command `xtalk serve`. FastAPI loads only when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xtalk.hookspecs import hookimpl

if TYPE_CHECKING:
    import argparse

    from xtalk_server.app import create_app

__all__ = ["create_app"]


@hookimpl
def xtalk_commands(commands: argparse._SubParsersAction[Any]) -> None:
    from xtalk_server import command

    command.add(commands)


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from xtalk_server.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
