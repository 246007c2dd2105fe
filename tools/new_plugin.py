"""Make a plugin: a copy of the example with one of its models, renamed.

python tools/new_plugin.py tts-foo FooTTS
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

from repository import ROOT

EXAMPLE = ROOT / "plugins" / "xtalk-example"
# The slots that the example fills, and its hook and class for each.
MODELS = {
    "asr": ("xtalk_asr", "FixedASR"),
    "agent": ("xtalk_llm_agent", "EchoAgent"),
    "tts": ("xtalk_tts", "ToneTTS"),
}


README = """# xtalk-{name}

`{class_name}` for xtalk.

## What was tested

TODO: with which version of what it wraps, on which speech, and what could not be tested.
"""


class Refused(Exception):
    """Why no plugin was made, as a sentence."""


def make(name: str, class_name: str, into: Path = ROOT / "plugins") -> Path:
    """The folder of the new plugin. Raises Refused before anything is written."""
    slot = name.partition("-")[0]
    if slot not in MODELS or not re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", name):
        slots = ", ".join(MODELS)
        raise Refused(f"{name!r} is no <slot>-<backend> like tts-foo; the slots are {slots}")
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", class_name):
        raise Refused(f"{class_name!r} is no name of a class like FooTTS")
    folder = into / f"xtalk-{name}"
    if folder.exists():
        raise Refused(f"{folder} is there already")
    for path, text in _files(name, slot, class_name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    return folder


def _files(name: str, slot: str, class_name: str) -> dict[str, str]:
    """The text of each file of the new plugin, by its path in the plugin's folder."""
    hook, old_class = MODELS[slot]
    old, new = "src/xtalk_example", f"xtalk_{name.replace('-', '_')}"
    texts = {path: (EXAMPLE / path).read_text("utf-8") for path in _kept(slot)}
    texts[f"{old}/__init__.py"] = _only(texts[f"{old}/__init__.py"], hook)
    texts["pyproject.toml"] = _described(texts["pyproject.toml"], name, class_name)
    texts["README.md"] = README.format(name=name, class_name=class_name)
    renamed = {"xtalk-example": f"xtalk-{name}", "xtalk_example": new, old_class: class_name}
    return {_replaced(path, renamed): _replaced(text, renamed) for path, text in texts.items()}


def _kept(slot: str) -> list[str]:
    """What belongs to this slot or to the whole plugin."""
    source = "src/xtalk_example"
    return [
        "pyproject.toml",
        "CHANGELOG.md",
        f"{source}/__init__.py",
        f"{source}/py.typed",
        f"{source}/{slot}.py",
        f"tests/test_{slot}.py",
    ]


def _only(hooks: str, kept: str) -> str:
    """The module of hooks with this hook alone."""
    lines = hooks.splitlines()
    for node in reversed(ast.parse(hooks).body):
        if isinstance(node, ast.FunctionDef) and node.name != kept:
            first = min([node.lineno, *(mark.lineno for mark in node.decorator_list)])
            del lines[first - 1 : node.end_lineno]
    text = "\n".join(lines).strip() + "\n"
    return re.sub(r"\n{4,}", "\n\n\n", text)


def _described(pyproject: str, name: str, class_name: str) -> str:
    text = re.sub(r'^description = ".*"$', f'description = "{class_name} for xtalk"', pyproject,
                  flags=re.MULTILINE)  # fmt: skip
    return re.sub(
        r"\[project\.entry-points\.xtalk\]\n(.+\n)+",
        f'[project.entry-points.xtalk]\n{name} = "xtalk_example"\n',
        text,
    )


def _replaced(text: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", help="slot and backend: tts-foo")
    parser.add_argument("class_name", help="the model's class: FooTTS")
    given = parser.parse_args()
    try:
        print(f"made {make(given.name, given.class_name)}; its tests: tox -e {given.name}")
    except Refused as reason:
        sys.exit(str(reason))
