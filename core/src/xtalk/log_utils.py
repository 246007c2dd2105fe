"""Logging for programs that want it set up. Importing this module changes nothing."""

from __future__ import annotations

import logging

__all__ = ["CLIENTS", "keep_discreet", "logger", "mute_other_logging", "setup_logging"]

logger = logging.getLogger("xtalk")

# They write whole addresses at INFO, and headers and messages at DEBUG.
CLIENTS = ("httpx", "httpcore", "httpx2", "httpcore2", "mcp", "openai")


def setup_logging(level: int | str = logging.INFO) -> None:
    """Show what xtalk logs on stderr, from `level` upwards. Writes no file.

    Other libraries' loggers are left alone. Calling it again only changes the level.
    """
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        logger.addHandler(handler)
        logger.propagate = False
    logger.setLevel(level)


def mute_other_logging() -> None:
    """Let the HTTP and audio libraries speak only of warnings and worse."""
    for name in ("", *CLIENTS, "urllib3", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)


def keep_discreet(*names: str, level: int = logging.WARNING) -> None:
    """Let these loggers speak only from `level` upwards, so that no key comes into the log.

    One whose level has been set keeps it: a program may want to read what its own client says.
    """
    for other in map(logging.getLogger, names):
        if other.level == logging.NOTSET:
            other.setLevel(level)
