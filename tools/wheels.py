"""Build every wheel, install them alone on each Python, and run the suites against them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from repository import PYTHONS, ROOT, interpreter, packages


def run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def build(out: Path) -> list[str]:
    """Build all wheels into `out`; the requirements that mean exactly these files."""
    for folder in packages().values():
        run("uv", "build", "--quiet", "--wheel", "--out-dir", out, folder)
    wheels = {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in out.glob("*.whl")}
    return [f"{name}[testing] @ {wheel.as_uri()}" for name, wheel in sorted(wheels.items())]


def check(python: str, requirements: list[str], env: Path) -> None:
    """Install the wheels, and nothing that would have to be compiled, and run the suites."""
    run("uv", "venv", "--quiet", "--python", python, env)
    run("uv", "pip", "install", "--quiet", "--only-binary=:all:", "--python", env, *requirements)
    run(env / "bin" / "xtalk", "plugins")
    for folder in packages().values():
        run(env / "bin" / "pytest", "--quiet", folder)


def main(tmp: Path) -> None:
    requirements = build(tmp / "dist")
    for version in PYTHONS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not installed here, so not tested")
        else:
            check(python, requirements, tmp / version)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
