"""The models behind the server: built in a thread while the socket already listens.

starting -> ok | failed
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.to_thread

from xtalk.errors import XtalkError

if TYPE_CHECKING:
    from xtalk.api import Xtalk

__all__ = ["Backend"]

log = logging.getLogger(__name__)


class Backend:
    """An Xtalk that comes into being: after `settled` it is there, or `failure` says why not."""

    def __init__(self, build: Callable[[], Xtalk]) -> None:
        self._build = build
        self.settled = anyio.Event()
        self.xtalk: Xtalk | None = None
        self.failure = ""

    @property
    def status(self) -> Literal["starting", "ok", "failed"]:
        if self.failure:
            return "failed"
        return "ok" if self.xtalk is not None else "starting"

    async def start(self) -> None:
        """Build the models. What goes wrong is logged and kept as `failure`, not raised."""
        try:
            self.xtalk = await anyio.to_thread.run_sync(self._build, abandon_on_cancel=True)
        except XtalkError as error:
            self.failure = str(error)
        except Exception as error:
            self.failure = f"building the models raised {type(error).__name__}: {error}"
            log.debug("the models cannot be built", exc_info=error)
        if self.failure:
            log.error("the models cannot be built: %s", self.failure)
        else:
            # What is alive now lives as long as the process: the collector need not look at it.
            gc.collect()
            gc.freeze()
        self.settled.set()
