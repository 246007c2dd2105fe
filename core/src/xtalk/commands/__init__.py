"""The commands that core brings; each module adds its own, and imports late what is heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xtalk.errors import PluginError

__all__ = ["Commands", "add_all", "add_command", "wav_name"]


class Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """The list of commands; a name that is taken is refused on every Python."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        if name in self.choices:
            raise PluginError(f"adds the command {name!r}, which exists already")
        parser: argparse.ArgumentParser = super().add_parser(name, **options)
        return parser


def add_all(commands: Any) -> None:
    """Add every command of core."""
    from xtalk.commands import config, models, plugins, speech, talk

    for module in (plugins, models, config, speech, talk):
        module.add(commands)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], help: str
) -> argparse.ArgumentParser:
    """A command with the options that all have: `--config`, `--json`, `--debug`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=f"{help[:1].upper()}{help[1:]}."
    )
    parser.add_argument("--config", metavar="FILE", help="configuration, TOML or JSON")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    # The same option stands before the command; only there it has a default.
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.set_defaults(run=run)
    return parser


def wav_name(text: str) -> str:
    """The name of a file to write, as argparse takes it: what is written is always WAV."""
    path = Path(text)
    if path.suffix.lower() not in ("", ".wav"):
        advice = f"only WAV files are written: name it {path.with_suffix('.wav')}"
        raise argparse.ArgumentTypeError(advice)
    return text
