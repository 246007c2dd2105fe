"""The models of sherpa-onnx that `xtalk models get NAME` can fetch, by slot.

All are archives of the releases of k2-fsa/sherpa-onnx. None of these addresses was tried where
xtalk is developed, which has no network; a name that its project has moved says so when fetched.
"""

from __future__ import annotations

from xtalk.hookspecs import Download

__all__ = ["RECOGNISERS"]

RELEASES = "https://github.com/k2-fsa/sherpa-onnx/releases/download"


def _archive(
    release: str, name: str, summary: str, *types: str, license: str | None = None
) -> Download:
    url = f"{RELEASES}/{release}/{name}.tar.bz2"
    return Download(name, url, summary, types=types, license=license)


RECOGNISERS: tuple[Download, ...] = ()
