"""`xtalk models`: which models' files can be fetched, and fetch them."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import sys
from collections.abc import Iterator
from typing import IO, Any

from xtalk import downloads
from xtalk.commands import add_command
from xtalk.errors import ConfigError
from xtalk.hookspecs import Download
from xtalk.plugins import Plugins

__all__ = ["add"]

MB = 1_000_000
TENTH = 10  # a line for so many per cent, where no terminal is


def add(commands: Any) -> None:
    parser = commands.add_parser("models", help="list or fetch the files of models")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    add_command(actions, "list", show, "list what the installed plugins know where to fetch")
    get = add_command(actions, "get", get_model, "fetch a model's files into the cache")
    get.add_argument("name", metavar="NAME", help="a name from `xtalk models list`")
    get.add_argument("--again", action="store_true", help="also when it is there already")


def show(arguments: argparse.Namespace) -> int:
    """What can be fetched, and what was."""
    rows = [(download, downloads.is_here(download)) for download in _catalogue(arguments.plugins)]
    if arguments.json:
        folder = downloads.models_folder()
        listed = [
            {**dataclasses.asdict(download), "path": str(folder / download.name) if here else None}
            for download, here in rows
        ]
        print(json.dumps(listed, indent=2))
        return 0
    for download, here in rows:
        print("\n".join(_block(download, here)))
    if not rows:
        print("No installed plugin knows of models to fetch.")
    return 0


def get_model(arguments: argparse.Namespace) -> int:
    """Fetch it, print where it is, and say on stderr what its checksum was compared with."""
    download = _find(_catalogue(arguments.plugins), arguments.name)
    progress = Progress(download.name, sys.stderr)
    try:
        fetched = downloads.fetch(download, progress, again=arguments.again)
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps({**dataclasses.asdict(fetched), "name": download.name}, default=str))
    else:
        print(fetched.path)
    print(f"xtalk: {_said(download, fetched)}", file=sys.stderr)
    return 0


def _catalogue(plugins: Plugins) -> list[Download]:
    """What all plugins offer, by name; of two with one name the first plugin's."""
    named: dict[str, Download] = {}
    for _, offered in plugins.call("xtalk_downloads"):
        for download in offered:
            named.setdefault(download.name, download)
    for row in plugins.rows:
        if row.error and "xtalk_downloads" in row.error:
            print(f"xtalk: plugin {row}: {row.error}", file=sys.stderr)
    return [named[name] for name in sorted(named)]


def _find(catalogue: list[Download], name: str) -> Download:
    for download in catalogue:
        if download.name == name:
            return download
    near = difflib.get_close_matches(name, [download.name for download in catalogue], n=1)
    raise ConfigError(
        f"no installed plugin knows where to fetch {name!r}"
        + (f"; did you mean {near[0]}?" if near else "; `xtalk models list` shows what there is")
    )


def _block(download: Download, here: bool) -> Iterator[str]:
    size = f"{download.size / MB:.1f} MB" if download.size else ""
    for_types = f"for {', '.join(download.types)}" if download.types else ""
    licence = f"licence: {download.license}" if download.license else ""
    sum_known = "" if download.sha256 else "checksum not known"
    yield f"{download.name}{' (here)' if here else ''}"
    details = [download.summary, for_types, size, licence, sum_known]
    yield f"  {'; '.join(detail for detail in details if detail)}"


def _said(download: Download, fetched: downloads.Fetched) -> str:
    if not fetched.downloaded:
        return f"{download.name} was there already"
    if fetched.compared == "catalogue":
        return f"{download.name} has the SHA-256 that the catalogue says"
    if fetched.compared == "record":
        return f"{download.name} has the SHA-256 that it had at the first download"
    return (
        f"nothing is known to compare {download.name} with; its SHA-256, {fetched.sha256}, is "
        "recorded for a later download"
    )


class Progress:
    """A bar on a terminal, and a line for every tenth of the file elsewhere."""

    def __init__(self, name: str, out: IO[str]) -> None:
        self._name = name
        self._out = out
        self._bar = out.isatty()
        self._shown = -1

    def __call__(self, done: int, total: int | None) -> None:
        """Show that so many bytes are here; `total` is None where the server does not say."""
        step = 100 * done // total if total else done // MB
        if not self._bar:
            step -= step % TENTH
        if step == self._shown:
            return
        self._shown = step
        text = self._text(done, total)
        print(f"\r{text}" if self._bar else text, end="" if self._bar else "\n", file=self._out)
        self._out.flush()

    def _text(self, done: int, total: int | None) -> str:
        if not total:
            return f"{self._name} {done / MB:.1f} MB"
        share = 100 * done // total
        bar = f" [{'#' * (share // 4):25}]" if self._bar else ""
        return f"{self._name}{bar} {share:3} % of {total / MB:.1f} MB"

    def close(self) -> None:
        """End the bar's line."""
        if self._bar and self._shown >= 0:
            print(file=self._out)
