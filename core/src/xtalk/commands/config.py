"""`xtalk config`: show the configuration with its sources, check it, print its schema."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from xtalk.commands import add_command
from xtalk.errors import ConfigError

if TYPE_CHECKING:
    from xtalk.plugins import Plugins
    from xtalk.registry import Registry
    from xtalk.settings import Config

__all__ = ["add"]


def add(commands: Any) -> None:
    parser = commands.add_parser("config", help="show or check the configuration")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "show", show, "print every value and where it comes from")
    add_command(actions, "check", check, "say what is wrong, without building anything")
    add_command(actions, "schema", schema, "print the JSON Schema of the configuration")


def show(arguments: argparse.Namespace) -> int:
    """Every value, secrets masked, with its source."""
    config = _load(arguments)
    rows = list(config.rows())
    if arguments.json:
        named = [dict(zip(("path", "value", "source"), row, strict=True)) for row in rows]
        print(json.dumps(named, indent=2, default=str))
        return 0
    settings = [f"{path} = {json.dumps(value, default=str)}" for path, value, _ in rows]
    width = min(60, max(map(len, settings)))
    for setting, (_, _, source) in zip(settings, rows, strict=True):
        print(f"{setting:{width}}  # {source}")
    _warn(config)
    return 0


def check(arguments: argparse.Namespace) -> int:
    """1 when something is wrong, with a sentence for each thing."""
    warnings: list[str] = []
    try:
        config = _load(arguments)
        problems = config.check()
        warnings = [*config.warnings, *_broken(arguments.plugins)]
    except ConfigError as error:
        problems = str(error).splitlines()
    if arguments.json:
        print(json.dumps({"problems": problems, "warnings": warnings}, indent=2))
        return 1 if problems else 0
    for text in warnings:
        print(f"xtalk: warning: {text}", file=sys.stderr)
    for text in problems:
        print(f"xtalk: {text}", file=sys.stderr)
    if not problems:
        print("The configuration is right.")
    return 1 if problems else 0


def _broken(plugins: Plugins) -> list[str]:
    return [f"the plugin {row} is broken: {row.error}" for row in plugins.rows if row.error]


def schema(arguments: argparse.Namespace) -> int:
    """JSON Schema, with the arguments of every model that is installed."""
    from xtalk.settings import json_schema

    print(json.dumps(json_schema(_registry(arguments)), indent=2, default=str))
    return 0


def _registry(arguments: argparse.Namespace) -> Registry:
    from xtalk.registry import Registry

    return Registry(arguments.plugins)


def _load(arguments: argparse.Namespace) -> Config:
    from xtalk.settings import Config

    return Config.load(arguments.config, registry=_registry(arguments))


def _warn(config: Config) -> None:
    for text in config.warnings:
        print(f"xtalk: warning: {text}", file=sys.stderr)
