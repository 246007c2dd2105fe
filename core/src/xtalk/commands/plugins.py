"""`xtalk plugins`: what is installed, what it brings, and what is wrong with it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from xtalk import config_file
from xtalk.commands import add_command
from xtalk.errors import ConfigError
from xtalk.hookspecs import Model
from xtalk.plugins import Plugin, Plugins

__all__ = ["add", "show"]


def add(commands: Any) -> None:
    parser = add_command(commands, "plugins", show, "list the installed plugins and their models")
    parser.add_argument(
        "--requirements", action="store_true", help="print them as pip requirements"
    )


def show(arguments: argparse.Namespace) -> int:
    """Print the listing. 1 when a plugin is broken, or one that is required is missing."""
    plugins: Plugins = arguments.plugins
    problems = _problems(arguments, plugins)
    if arguments.requirements:
        lines = [f"{row.distribution}=={row.version}" for row in plugins.rows if row.distribution]
        print("\n".join(sorted(set(lines))))
    elif arguments.json:
        print(json.dumps([dataclasses.asdict(row) for row in plugins.rows], indent=2))
    else:
        blocks = ["\n".join(_block(row)) for row in plugins.rows]
        print("\n\n".join(blocks) or "No plugins are installed.")
    for problem in problems:
        print(f"xtalk: {problem}", file=sys.stderr)
    return 1 if problems or not plugins.healthy else 0


def _problems(arguments: argparse.Namespace, plugins: Plugins) -> list[str]:
    """Obey `[plugins]` of the configuration, as far as it can be read, and say what is unmet."""
    try:
        path = config_file.find(arguments.config, os.environ)
        section = config_file.read(path).get("plugins", {}) if path else {}
        order, required = section.get("order", []), section.get("required", [])
        plugins.set_order([str(name) for name in order])
        return plugins.check_required([str(requirement) for requirement in required])
    except (ConfigError, AttributeError, TypeError) as error:
        if isinstance(error, ConfigError):
            return [str(error)]
        return [f"{path}: plugins: expected a table with lists, see `xtalk config check`"]


def _block(row: Plugin) -> Iterator[str]:
    about = " ".join(part for part in (row.distribution, row.version) if part)
    yield f"{row.name} ({about})" if about else row.name
    if row.error:
        yield f"  BROKEN: {row.error}"
    for note in row.notes:
        yield f"  note: {note}"
    for slot, models in row.models.items():
        for model in models:
            yield f"  {slot}: {model.name}" + (f" - {model.summary}" if model.summary else "")
            if card := _card(model):
                yield f"      {card}"
    others = [hook for hook in row.hooks if hook.removeprefix("xtalk_") not in row.models]
    if others and row.loaded:
        yield f"  hooks: {', '.join(others)}"


def _card(model: Model) -> str:
    """The capabilities in one line, as far as they are stated."""
    listed = {
        "languages": model.languages,
        "Hz": model.sample_rates,
        "voices": model.voices,
        "emotions": model.emotions,
    }
    parts = [f"{name}: {', '.join(map(str, items))}" for name, items in listed.items() if items]
    flags = {"streaming": model.streaming, "word times": model.word_times, "speed": model.speed}
    parts += [name if flag else f"no {name}" for name, flag in flags.items() if flag is not None]
    parts += [f"licence: {model.license}"] if model.license else []
    parts += [f"needs the extra: {model.extra}"] if model.extra else []
    return "; ".join(parts)
