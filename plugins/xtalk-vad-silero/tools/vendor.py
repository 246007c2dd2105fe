"""Take the model file out of the wheel that it comes from, or check that ours is that file.

    python tools/vendor.py --check    download the wheel, compare; exit status 1 if they differ
    python tools/vendor.py --write    download the wheel, write the files into the package

The `silero-vad` distribution needs torch, which is why we carry its model instead of
depending on it. Needs pip and a package index; nothing of the wheel is installed or run.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

RELEASE = "silero-vad==6.2.3"
WHEEL_SHA256 = "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8"
FILES = {
    "silero_vad/data/silero_vad_16k_op15.onnx": "silero_vad_16k_op15.onnx",
    "silero_vad-6.2.3.dist-info/licenses/LICENSE": "LICENSE.silero-vad",
}
TARGET = Path(__file__).parents[1] / "src" / "xtalk_vad_silero" / "model"


def fetch(folder: str) -> dict[str, bytes]:
    """The files by the names that they have here; SystemExit when it is another wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    subprocess.run([*command, "--only-binary", ":all:", RELEASE], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel.name} has sha256 {found}, expected {WHEEL_SHA256}")
    with zipfile.ZipFile(wheel) as archive:
        return {ours: archive.read(theirs) for theirs, ours in FILES.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare and change nothing")
    what.add_argument("--write", action="store_true", help="write the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contents = fetch(folder)
    if arguments.write:
        TARGET.mkdir(exist_ok=True)
        for name, content in contents.items():
            (TARGET / name).write_bytes(content)
        return 0
    paths = {name: TARGET / name for name in contents}
    different = [
        name
        for name, content in contents.items()
        if not paths[name].exists() or paths[name].read_bytes() != content
    ]
    for name in different:
        print(f"{name} is not the file of {RELEASE}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
