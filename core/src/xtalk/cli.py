"""The `xtalk` command.

Exit status: 0 all is well, 1 a problem was found (a sentence on stderr says which), 2 the
command line was wrong, 130 interrupted. With `--debug`, or XTALK_DEBUG set, a problem comes
with its traceback.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from xtalk.commands import Commands, add_all
from xtalk.errors import PluginError, XtalkError
from xtalk.log_utils import CLIENTS, keep_discreet
from xtalk.plugins import Plugin, Plugins, installed_version

__all__ = ["main"]

DESCRIPTION = "Full-duplex spoken dialogue from replaceable models."
EPILOG = "Exit status: 0 all is well, 1 a problem was found, 2 the command line was wrong."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv or bool(os.environ.get("XTALK_DEBUG"))
    _set_up_logging(debug)
    try:
        plugins = Plugins.load()
        arguments = _parser(plugins).parse_args(argv)
        arguments.plugins = plugins
        status: int = arguments.run(arguments) or 0
        sys.stdout.flush()
        return status
    except XtalkError as error:
        return _problem(str(error), debug)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        text = " ".join(str(error).split())
        return _problem(f"{type(error).__name__}: {text} (--debug shows where)", debug)


def _set_up_logging(debug: bool) -> None:
    """Everything when debugging; else nothing, unless a command asks for a log of its own.

    What may hold keys is in neither.
    """
    keep_discreet(*CLIENTS)
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    logger = logging.getLogger("xtalk")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _problem(text: str, debug: bool) -> int:
    if debug:
        raise
    for line in text.splitlines():
        print(f"xtalk: {line}", file=sys.stderr)
    return 1


def _parser(plugins: Plugins) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("xtalk", description=DESCRIPTION, epilog=EPILOG)
    version = installed_version() or "unknown"
    parser.add_argument("--version", action="version", version=f"xtalk {version}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of a problem")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, action=Commands
    )
    add_all(commands)
    _add_plugins_commands(plugins, commands)
    return parser


def _add_plugins_commands(plugins: Plugins, commands: Any) -> None:
    known = set(commands.choices)
    for plugin, _ in plugins.each("xtalk_commands", commands=commands):
        for name in commands.choices.keys() - known:
            command: argparse.ArgumentParser = commands.choices[name]
            if command.get_default("run") is None:
                # Commands below it, if there are any, bring their own.
                command.set_defaults(run=partial(_nothing_to_run, name, plugin))
            known.add(name)


def _nothing_to_run(name: str, plugin: Plugin, arguments: argparse.Namespace) -> None:
    raise PluginError(
        f"the command {name!r} of the plugin {plugin} has nothing to run; "
        "it should say parser.set_defaults(run=...)"
    )


if __name__ == "__main__":
    sys.exit(main())
