"""nox makes things: `nox -l` lists what. (tox checks them; nox never runs a test.)"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "tools"))
from repository import packages, version  # noqa: E402

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["demo"]

GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")["dependency-groups"]
OFFLINE = ["xtalk-agent-rules", "xtalk-asr-pocketsphinx", "xtalk-tts-espeak", "xtalk-vad-silero"]

SERVICES = [
    *("xtalk-asr-qwen3", "xtalk-elevenlabs", "xtalk-tts-cosyvoice"),
    *("xtalk-tts-gpt-sovits", "xtalk-tts-index"),
]


def editable(*names: str, extra: str = "") -> list[str]:
    """The arguments that install these packages from their folders."""
    return [word for name in names for word in ("-e", f"{packages()[name]}{extra}")]


@contextmanager
def licensed(folder: Path) -> Iterator[Path]:
    """The folder with the text of the licence in it, which every distribution must carry."""
    text = Path(shutil.copy(ROOT / "LICENSE", folder))
    try:
        yield folder
    finally:
        text.unlink()


@nox.session
def demo(session: nox.Session) -> None:
    """Serve the embedded default at http://localhost:7635, from this checkout."""
    session.install(*editable("xtalk-core", "xtalk-server", *OFFLINE))
    session.run("xtalk", "serve", *session.posargs)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv with every package, editable, and the tools to test and to check them."""
    python = ROOT / ".venv" / "bin" / "python"
    if not python.exists():
        session.run(sys.executable, "-m", "venv", ".venv")
    tools = [requirement for name in ("lint", "types", "docs") for requirement in GROUPS[name]]
    session.run(
        *(str(python), "-m", "pip", "install", "--quiet"),
        *editable(*packages(), extra="[testing]"),
        *tools,
    )


@nox.session(name="new-plugin", venv_backend="none")
def new_plugin(session: nox.Session) -> None:
    """Make a plugin from the working example: nox -s new-plugin -- tts-foo FooTTS"""
    session.run(sys.executable, "tools/new_plugin.py", *session.posargs)


@nox.session
def wire(session: nox.Session) -> None:
    """Write frontend/src/wire.ts, docs/wire.md and docs/asyncapi.json from the messages."""
    session.install(*editable("xtalk-core"))
    session.run("python", "tools/generate.py", "wire")


@nox.session
def frontend(session: nox.Session) -> None:
    """Build the browser's page into the server: nox -s frontend [-- --vad: its detector too]"""
    session.install(*GROUPS["node"])
    session.run("python", "tools/frontend.py", "write", session.create_tmp(), *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated pages anew and build the documentation into build/docs."""
    session.install(*editable("xtalk-core"), *GROUPS["docs"])
    session.run("python", "tools/generate.py")
    session.run("mkdocs", "build", "--quiet", "--site-dir", "build/docs")


@nox.session
def build(session: nox.Session) -> None:
    """Build into dist/: all packages, or those named, as xtalk-tts-espeak or by its tag."""
    session.install("uv")
    for given in session.posargs or packages():
        name, _, tagged = given.partition("/v")
        if tagged and tagged != version(packages()[name]):
            session.error(f"the tag says {tagged}, {name} is {version(packages()[name])}")
        if tagged and name == "xtalk-server":  # a release carries the browser's detector
            session.install(*GROUPS["node"])
            session.run("python", "tools/frontend.py", "write", session.create_tmp(), "--vad")
        with licensed(packages()[name]) as folder:
            session.run("uv", "build", "--quiet", "--out-dir", "dist", str(folder))


@nox.session(venv_backend="none")
def release(session: nox.Session) -> None:
    """Bump, commit and tag one package: nox -s release -- xtalk-tts-espeak first|minor|patch"""
    session.run(sys.executable, "tools/release.py", *session.posargs)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew: the newest versions that fit together, for every Python."""
    session.install("uv")
    compiled = session.run(
        *("uv", "pip", "compile", "--quiet", "--upgrade", "--universal", "--python-version=3.10"),
        *("--no-header", "--no-annotate", "--all-extras"),
        *(f"--group={name}" for name in GROUPS),
        *(f"{folder}/pyproject.toml" for folder in packages().values()),
        silent=True,
        env={"UV_PYTHON_DOWNLOADS": "never"},
    )
    pins = [line for line in (compiled or "").splitlines() if "==" in line]
    (ROOT / "constraints.txt").write_text("\n".join(pins) + "\n", "utf-8")


@nox.session(name="vendor-silero")
def vendor_silero(session: nox.Session) -> None:
    """Take the Silero model out of its source wheel again, into plugins/xtalk-vad-silero."""
    session.install("pip")
    wanted = session.posargs or ["--write"]
    session.run("python", "plugins/xtalk-vad-silero/tools/vendor.py", *wanted)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure: nox -s bench, or another program of bench/ with its arguments after --."""
    program, *arguments = session.posargs or ["overhead"]
    if program == "adaptors":
        session.install(*editable(*SERVICES, extra="[testing]"), *editable("xtalk-core"))
    session.install(*editable("xtalk-core", "xtalk-server", "xtalk-example", *OFFLINE))
    session.run("python", f"bench/{program}.py", *arguments)


@nox.session
def soak(session: nox.Session) -> None:
    """Hold 10 000 random conversations in virtual time: nox -s soak [-- how many [first seed]]"""
    session.install(*editable("xtalk-core", extra="[testing]"))
    session.run("python", "bench/soak.py", *session.posargs)
