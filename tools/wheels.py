"""Build every wheel, install them alone on each Python, and run the suites against them."""

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


def failures(python: str, requirements: list[str], env: Path) -> list[str]:
    """Install the wheels, nothing compiled, and run each suite; the names of those that failed."""
    run("uv", "venv", "--quiet", "--python", python, env)
    run("uv", "pip", "install", "--quiet", "--only-binary=:all:", "--python", env, *requirements)
    run(env / "bin" / "xtalk", "plugins")
    pytest = env / "bin" / "pytest"
    return [
        f"{name} on Python {env.name}"
        for name, folder in packages().items()
        if not run(pytest, "--quiet", folder, check=False)
    ]


def main(tmp: Path) -> int:
    """0, or 1 and the suites that failed."""
    requirements, failed = build(tmp / "dist"), []
    for version in PYTHONS:
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not installed here, so not tested")
        else:
            failed += failures(python, requirements, tmp / version)
    print(*(f"failed: {name}" for name in failed), sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
