"""nox makes things: `nox -l` lists what. (tox checks them; nox never runs a test.)"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["demo"]

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
OFFLINE = ["xtalk-agent-rules", "xtalk-asr-pocketsphinx", "xtalk-tts-espeak", "xtalk-vad-silero"]


def folders() -> list[str]:
    """The folders that become distributions."""
    found = [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("plugins/*/pyproject.toml")]
    return sorted(str(path.parent.relative_to(ROOT)) for path in found)


def editable(*names: str) -> list[str]:
    return [word for name in names for word in ("-e", f"./{name}")]


@nox.session
def demo(session: nox.Session) -> None:
    """Serve the embedded default at http://localhost:7635, from this checkout."""
    plugins = [f"plugins/{name}" for name in OFFLINE]
    session.install(*editable("core", "xtalk-server[offline]", *plugins))
    session.run("xtalk", "serve", *session.posargs)


@nox.session
def dev(session: nox.Session) -> None:
    """Make .venv: every package editable, with what tests, types and lint need."""
    session.run(sys.executable, "-m", "venv", ".venv", external=True)
    python = str(ROOT / ".venv" / "bin" / "python")
    packages = [f"{folder}[testing]" for folder in folders()]
    session.install("uv")
    session.run(
        "uv", "pip", "install", "--python", python, *editable(*packages),
        "--group", "lint", "--group", "types", "--group", "docs",
    )


@nox.session(name="new-plugin")
def new_plugin(session: nox.Session) -> None:
    """Copy the example plugin under a new name: nox -s new-plugin -- tts-foo FooTTS"""
    session.run("python", "tools/new_plugin.py", *session.posargs)


@nox.session
def wire(session: nox.Session) -> None:
    """Write frontend/src/wire.ts and docs/wire.md from the core's messages."""
    session.install(*editable("core"))
    session.run("python", "tools/generate.py", "wire")


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages anew and build the documentation into build/docs."""
    session.install(*editable("core"), *nox.project.dependency_groups(PROJECT, "docs"))
    session.run("python", "tools/generate.py")
    session.run("mkdocs", "build", "--strict", "--site-dir", "build/docs")


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the source distribution of every package into dist/."""
    session.install("uv")
    for folder in session.posargs or folders():
        session.run("uv", "build", "--quiet", "--out-dir", "dist", folder)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew: the newest versions that fit, for every Python together."""
    session.install("uv")
    groups = [f"--group={name}" for name in PROJECT["dependency-groups"]]
    sources = [f"{folder}/pyproject.toml" for folder in folders()]
    lines = session.run(
        "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.10", "--upgrade",
        "--no-header", "--no-annotate", "--all-extras", *groups, *sources,
        silent=True, env={"UV_PYTHON_DOWNLOADS": "never"},
    ).splitlines()
    pins = [line for line in lines if "==" in line]
    (ROOT / "constraints.txt").write_text("\n".join(pins) + "\n")
