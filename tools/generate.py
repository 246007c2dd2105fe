"""Write what is generated from the code: the hook page, the wire pages and types, the model table.

`python tools/generate.py [hooks|models|wire]` writes; a test compares `pages()` with the tree.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repository import ROOT
from xtalk import hookspecs
from xtalk.plugins import Plugin, Plugins
from xtalk.wire.export import asyncapi, message_schema, typescript
from xtalk.wire.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Message

NOTICE = "<!-- Written by `nox -s {}`. Do not edit. -->\n"
TABLE = re.compile(r"(<!-- models: .*? -->\n).*?(<!-- /models -->)", re.DOTALL)


def pages(kind: str = "") -> dict[Path, str]:
    """The text of each generated file, of one kind or of all."""
    makers = {"hooks": hook_pages, "models": model_pages, "wire": wire_pages}
    chosen = [makers[kind]] if kind else makers.values()
    return {ROOT / name: text for make in chosen for name, text in make().items()}


# --- hooks --------------------------------------------------------------------------------------


def hook_pages() -> dict[str, str]:
    return {"docs/hooks.md": "\n".join([NOTICE.format("docs"), "# Hooks\n", *_hooks()])}


def _hooks() -> Iterator[str]:
    """The module's sections in their order, each hook with its signature and its example."""
    yield _prose(inspect.getdoc(hookspecs) or "") + "\n"
    hooks = {name: value for name, value in vars(hookspecs).items() if name.startswith("xtalk_")}
    for line in inspect.getsource(hookspecs).splitlines():
        if title := re.match(r"# --- (.+?) -*$", line):
            yield f"## {title[1].strip()[0].upper()}{title[1].strip()[1:]}\n"
        elif hook := re.match(r"def (xtalk_\w+)", line):
            yield from _hook(hook[1], hooks[hook[1]])


def _hook(name: str, function: Any) -> Iterator[str]:
    text, example = _split(inspect.getdoc(function) or "")
    yield f"### {name}\n"
    yield f"```python\n{name}{inspect.signature(function)}\n```\n".replace("'", "")
    yield _prose(text) + "\n"
    if example:
        yield f"```python\n{example}\n```\n"


def _split(doc: str) -> tuple[str, str]:
    """The words of a docstring, and the program that it ends with."""
    program = re.search(r"^(from|import) ", doc, re.MULTILINE)
    return (doc[: program.start()].strip(), doc[program.start() :]) if program else (doc, "")


def _prose(text: str) -> str:
    return re.sub(r"\n\n(?=\n)", "\n", text.strip())


# --- models -------------------------------------------------------------------------------------


def model_pages() -> dict[str, str]:
    """The pages that hold the table of models, with the table as the plugins' hooks make it."""
    table = "\n".join(_models(_plugins()))
    names = ("README.md", "docs/plugins.md")
    return {
        name: TABLE.sub(lambda match: match[1] + table + "\n" + match[2], (ROOT / name).read_text())
        for name in names
    }


def _plugins() -> Plugins:
    """The plugins of this repository, from their sources, whatever else is installed."""
    plugins = Plugins()
    for source in sorted(ROOT.glob("plugins/*/src/xtalk_*/__init__.py")):
        sys.path.insert(0, str(source.parent.parent))
        module = importlib.import_module(source.parent.name)
        plugins.register(module, distribution=source.parents[2].name)
    return plugins


def _models(plugins: Plugins) -> Iterator[str]:
    yield "| slot | type | what it is | languages | licence | package |"
    yield "|---|---|---|---|---|---|"
    for slot in plugins.slots:
        for plugin, model in plugins.models(slot):
            cells = [slot, f"`{model.name}`", model.summary, _languages(model.languages)]
            yield "| " + " | ".join([*cells, model.license or "", _link(plugin)]) + " |"


def _languages(languages: Any) -> str:
    shown = ", ".join(list(languages)[:4])
    return f"{shown}, ... ({len(languages)})" if len(languages) > 4 else shown


def _link(plugin: Plugin) -> str:
    return f"`{plugin.distribution}`"


# --- wire ---------------------------------------------------------------------------------------


def wire_pages() -> dict[str, str]:
    return {
        "frontend/src/wire.ts": typescript(),
        "docs/asyncapi.json": asyncapi(),
        "docs/wire.md": "\n".join([NOTICE.format("wire"), "# The wire protocol\n", *_wire()]),
    }


def _wire() -> Iterator[str]:
    yield inspect.getdoc(sys.modules[Message.__module__]) or ""
    yield "\nFor programs: [asyncapi.json](asyncapi.json), and `frontend/src/wire.ts`.\n"
    for title, classes in (("client", CLIENT_MESSAGES), ("server", SERVER_MESSAGES)):
        yield f"## What the {title} sends\n"
        for action, cls in classes.items():
            yield from _message(action, message_schema(cls))


def _message(action: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {action}\n"
    if schema.get("description"):
        yield schema["description"] + "\n"
    fields = list(_fields(schema))
    if fields:
        yield "| field | type | needed | |"
        yield "|---|---|---|---|"
        yield from fields
        yield ""


def _fields(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """A row for each field below the message's root, `action` left out."""
    for name, value in schema.get("properties", {}).items():
        if name == "action":
            continue
        needed = "yes" if name in schema.get("required", ()) else ""
        about = " ".join(value.get("description", "").split())
        yield f"| `{path}{name}` | {_type(value)} | {needed} | {about} |"
        yield from _fields(value, f"{path}{name}.")


def _type(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']!r}`"
    if "anyOf" in schema:
        return " or ".join(_type(branch) for branch in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


if __name__ == "__main__":
    for path, text in pages(*sys.argv[1:]).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
