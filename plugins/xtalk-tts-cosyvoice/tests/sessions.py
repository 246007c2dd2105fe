"""A voice as one session has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from xtalk import schema

__all__ = ["using"]

V = TypeVar("V")


def using(
    model: type[V],
    arguments: Mapping[str, Any],
    check: Callable[[V], Coroutine[Any, Any, None]],
) -> None:
    """Run a check with a clone of the model, which is opened and closed as the engine does."""

    async def run() -> None:
        voice = schema.build(model, arguments).clone()
        await voice.open()
        try:
            await check(voice)
        finally:
            await voice.close()

    asyncio.run(run())
