"""Logging for programs that want it set up. Importing this module changes nothing."""

from __future__ import annotations

import logging

__all__ = ["logger", "mute_other_logging", "setup_logging"]

logger = logging.getLogger("xtalk")


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
    for name in ("", "httpx", "httpcore", "urllib3", "websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
