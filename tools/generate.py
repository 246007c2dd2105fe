"""Write what is generated from the code: the pages of hooks and wire, the tables, the wire's types.

`python tools/generate.py [hooks|models|parameters|settings|wire]` writes them; a test compares
`pages()` with what is committed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from repository import ROOT
from xtalk import hookspecs
from xtalk.hookspecs import Model
from xtalk.plugins import Plugin, Plugins
from xtalk.schema import json_schema
from xtalk.settings import PluginsConfig, ServerConfig, ServiceConfig
from xtalk.wire.export import asyncapi, message_schema, typescript
from xtalk.wire.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Message

NOTICE = "<!-- Written by `nox -s {}`. Do not edit. -->\n"


def pages(kind: str = "") -> dict[Path, str]:
    """The text of each generated file, of one kind or of all."""
    makers = {
        "hooks": hook_pages,
        "models": model_pages,
        "parameters": parameter_pages,
        "settings": setting_pages,
        "wire": wire_pages,
    }
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
    yield f"```\n{name}{inspect.signature(function)}\n```\n".replace("'", "")
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
    """The table of models, as the plugins' hooks make it, and what each package says was tested."""
    plugins = _plugins()
    rows = list(_models(plugins))
    return {
        "README.md": _filled("README.md", "models", rows),
        "docs/models.md": "\n".join([NOTICE.format("docs"), MODELS, *rows, *_tested(plugins)])
        + "\n",
    }


MODELS = """# Models

Every model that a package of this repository brings, by slot. A type name is what a configuration
says; `xtalk plugins --json` tells the same of what is installed, with voices and sample rates, and
each package's README tells its parameters. What was tested, and what could not be, stands below.
"""


def _tested(plugins: Plugins) -> Iterator[str]:
    """The section "What was tested" of the README of each package that has models."""
    yield "\n# What was tested\n"
    for name in dict.fromkeys(row.distribution for row in plugins.rows if row.models):
        readme = (ROOT / "plugins" / name / "README.md").read_text("utf-8")
        _, there, section = readme.partition("\n## What was tested\n")
        if not there:
            sys.exit(f"plugins/{name}/README.md lacks the section 'What was tested'")
        yield f"## {name}\n\n{section.partition(chr(10) + '## ')[0].strip()}\n"


def _filled(name: str, mark: str, rows: Iterable[str]) -> str:
    """The page with these rows between its marks."""
    return _between(name, (ROOT / name).read_text("utf-8"), mark, rows)


def _between(name: str, text: str, mark: str, rows: Iterable[str]) -> str:
    start, end = f"<!-- {mark}: written by `nox -s docs` -->\n", f"<!-- /{mark} -->"
    before, opened, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        sys.exit(f"{name} lacks the marks of {mark!r}")
    return "".join([before, start, *(f"{row}\n" for row in rows), end, after])


def _plugins() -> Plugins:
    """The plugins of this repository, from their sources, whatever else is installed."""
    plugins = Plugins()
    for folder in sorted(ROOT.glob("plugins/*")):
        sys.path.insert(0, str(folder / "src"))
        for module in _entry_points((folder / "pyproject.toml").read_text("utf-8")):
            plugins.register(importlib.import_module(module), distribution=folder.name)
    return plugins


def _entry_points(pyproject: str) -> list[str]:
    """The modules under [project.entry-points.xtalk]."""
    section = pyproject.partition("[project.entry-points.xtalk]\n")[2].partition("\n[")[0]
    return re.findall(r'= "([\w.]+)"', section)


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


# --- parameters ---------------------------------------------------------------------------------


def parameter_pages() -> dict[str, str]:
    """The READMEs of plugins that have marks for the parameters of their models."""
    return {name: text for name, text in _readmes(_plugins()) if text}


def _readmes(plugins: Plugins) -> Iterator[tuple[str, str]]:
    for row in plugins.rows:
        name = f"plugins/{row.distribution}/README.md"
        text = (ROOT / name).read_text("utf-8")
        marks = re.findall(r"^<!-- (parameters(?: (\w+))?): written by", text, re.MULTILINE)
        models = [model for found in row.models.values() for model in found]
        for mark, chosen in marks:
            (model,) = [each for each in models if chosen in ("", each.name)]
            text = _between(name, text, mark, _parameters(model))
        yield name, text if marks else ""


def _parameters(model: Model) -> Iterator[str]:
    """A row for each argument of the constructor."""
    module, _, cls = model.target.partition(":")
    schema = json_schema(getattr(importlib.import_module(module), cls))
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for name, value in schema["properties"].items():
        needed = name in schema.get("required", ())
        default = (
            "needed" if needed else f"`{json.dumps(value.get('default'), ensure_ascii=False)}`"
        )
        default = "" if default == "`null`" else default
        yield f"| `{name}` | {default} | {_cell(value.get('description', ''))} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# --- settings -----------------------------------------------------------------------------------


def setting_pages() -> dict[str, str]:
    configure, readme = "docs/configure.md", "xtalk-server/README.md"
    text = _filled(configure, "slots", _slots())
    text = _between(configure, text, "settings", _settings(ServiceConfig))
    text = _between(configure, text, "plugins", _settings(PluginsConfig))
    text = _between(configure, text, "server", _settings(ServerConfig))
    return {configure: text, readme: _filled(readme, "server", _settings(ServerConfig))}


def _slots() -> Iterator[str]:
    yield "| slot | |"
    yield "|---|---|"
    for slot in hookspecs.SLOTS:
        yield f"| `{slot.name}` | {slot.summary}{' (must be filled)' if slot.required else ''} |"


def _settings(section: type[BaseModel]) -> Iterator[str]:
    yield "| key | default | |"
    yield "|---|---|---|"
    for name, value in section.model_fields.items():
        default = "" if value.default is None else f"`{json.dumps(value.default)}`"
        yield f"| `{name}` | {default} | {value.description} |"


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
