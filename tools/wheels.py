"""Build every wheel, install them on each Python, and run the suites on the oldest and the newest.

The core's suite runs on each Python in environments of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from repository import PYTHONS, ROOT, interpreter, packages


def run(*command: str | Path, check: bool = True) -> bool:
    """Run it in the repository and say whether it went well; unless `check`, go on if not."""
    print("+", *command, flush=True)
    return subprocess.run(command, cwd=ROOT, check=check).returncode == 0


def build(out: Path) -> list[str]:
    """Build all wheels into `out`; the requirements that mean exactly these files."""
    for folder in packages().values():
        run("uv", "build", "--quiet", "--wheel", "--out-dir", out, folder)
    wheels = {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in out.glob("*.whl")}
    return [f"{name}[testing] @ {wheel.as_uri()}" for name, wheel in sorted(wheels.items())]


def install(python: str, requirements: list[str], env: Path) -> None:
    """All wheels together in a new environment, nothing compiled; then list what they bring."""
    run("uv", "venv", "--quiet", "--python", python, env)
    run("uv", "pip", "install", "--quiet", "--only-binary=:all:", "--python", env, *requirements)
    run(env / "bin" / "xtalk", "plugins")


def failures(env: Path) -> list[str]:
    """Run each suite against the wheels; the names of those that failed."""
    pytest = env / "bin" / "pytest"
    return [
        f"{name} on Python {env.name}"
        for name, folder in packages().items()
        if not run(pytest, "--quiet", folder, check=False)
    ]


def main(tmp: Path) -> int:
    """0, or 1 and the suites that failed."""
    requirements, failed = build(tmp / "dist"), []
    found = {version: python for version in PYTHONS if (python := interpreter(version))}
    for version in PYTHONS:
        if version in found:
            install(found[version], requirements, tmp / version)
        else:
            print(f"Python {version}: not installed here, so not tested")
    for version in dict.fromkeys([min(found, key=PYTHONS.index), max(found, key=PYTHONS.index)]):
        failed += failures(tmp / version)
    print(*(f"failed: {name}" for name in failed), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
