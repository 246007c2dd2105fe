"""Fetch the files of models into the user's cache, and find them there.

    <models>/NAME                      a file, or the folder of what was in an archive
    <models>/.records/NAME.json        its address, size and SHA-256
    <models>/.partial/NAME             as much as a download that was cut has brought
    <models>/.partial/NAME.json        of which version of the file at which address that is
    <models>/.partial/NAME.unpacked    an archive while it is unpacked
    <models>/.partial/NAME.lock        held while somebody downloads

`<models>` is XTALK_MODELS, or `xtalk/models` in the user's cache directory. What stands under
its name is whole and checked: it is put there by one rename, after everything else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, Literal

from xtalk.errors import ConfigError, DownloadError
from xtalk.hookspecs import Download

if TYPE_CHECKING:
    from http.client import HTTPResponse

__all__ = ["Fetched", "Progress", "fetch", "is_here", "locate", "models_folder"]

TIMEOUT_S = 30.0  # to connect, and between two pieces of the file
ATTEMPTS = 5  # connections for one command; the next command goes on where it stopped
PIECE = 1 << 18  # bytes

Progress = Callable[[int, "int | None"], object]
"""Told how many bytes there are, and of how many (None: the server does not say)."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What `fetch` did. `sha256` is of the file at the address, "" where nobody wrote it down.

    `compared` says with what it was compared: the sum in the catalogue, the one that was recorded
    at an earlier download, or None, since it was the first.
    """

    path: Path
    sha256: str
    compared: Literal["catalogue", "record"] | None = None
    downloaded: bool = True


def models_folder() -> Path:
    """Where models are kept; it need not exist."""
    if named := os.environ.get("XTALK_MODELS"):
        return Path(named).expanduser()
    return _user_cache() / "xtalk" / "models"


def _user_cache() -> Path:
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def locate(name_or_path: str | os.PathLike[str]) -> Path:
    """The file or folder at a path, else the model of that name that was fetched.

    Raises ConfigError, with the command that fetches it, when it is not here.
    """
    text = os.fspath(name_or_path)
    path = Path(text).expanduser()
    if text and path.exists():
        return path
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", text, re.ASCII):
        raise ConfigError(f"there is no file or folder {text!r} to read a model from")
    path = models_folder() / text
    if not path.exists():
        raise ConfigError(f"the model {text!r} is not here; run: xtalk models get {text}")
    return path


def is_here(download: Download) -> bool:
    """Whether it was fetched."""
    return (models_folder() / download.name).exists()


def fetch(
    download: Download, progress: Progress = lambda done, total: None, *, again: bool = False
) -> Fetched:
    """Bring it into the cache, unless it is there; with `again` also then. Blocks.

    A download that was cut goes on where it stopped, if the server still has the same file. Raises
    DownloadError, and leaves what was there, when it cannot be fetched or is another file than
    the catalogue or an earlier download said.
    """
    models = models_folder()
    try:
        for folder in (models / ".partial", models / ".records"):
            folder.mkdir(parents=True, exist_ok=True)
        with _lock(models / ".partial" / f"{download.name}.lock", download.name):
            return _fetch(models, download, progress, again)
    except OSError as error:
        reason = error.strerror or error
        raise DownloadError(
            f"{download.name} cannot be kept in {models}: {reason}; make room there, or name "
            "another folder in XTALK_MODELS"
        ) from error


def _fetch(models: Path, download: Download, progress: Progress, again: bool) -> Fetched:
    path, record = models / download.name, models / ".records" / f"{download.name}.json"
    known = _read_json(record)
    if path.exists() and not again:
        return Fetched(path, str(known.get("sha256", "")), downloaded=False)
    part = models / ".partial" / download.name
    _Transfer(download, part, progress).run()
    digest = _sha256(part)
    compared = _compare(download, digest, known, record, part)
    written = {"url": download.url, "size": part.stat().st_size, "sha256": digest}
    whole = _unpacked(download, part)
    _write_json(record, written)
    _put(whole, path)
    for left in (part, _beside(part), _unpacking(part)):
        _remove(left)
    return Fetched(path, digest, compared)


def _compare(
    download: Download, digest: str, known: dict[str, Any], record: Path, part: Path
) -> Literal["catalogue", "record"] | None:
    """With what the sum was compared; a file that differs is thrown away and refused."""
    recorded = known.get("sha256") if known.get("url") == download.url else None
    expected = download.sha256 or recorded
    if expected is None:
        return None
    if digest != expected:
        _remove(part)
        who = "the catalogue says" if download.sha256 else "the first download had"
        cure = "" if download.sha256 else f"; to accept the new file, delete {record}"
        raise DownloadError(
            f"{download.name}: the file at {download.url} has the SHA-256 {digest}, but {who} "
            f"{expected}; it was thrown away{cure}"
        )
    return "catalogue" if download.sha256 else "record"


def _put(whole: Path, path: Path) -> None:
    """Take the place of what is there, which a folder cannot do in one step."""
    old = whole.with_name(f"{path.name}.old")
    _remove(old)
    if path.exists():
        path.rename(old)
    whole.rename(path)
    _remove(old)


# --- over the wire ------------------------------------------------------------------------------


class _Cut(Exception):
    """The connection ended before the file did."""


@dataclass(frozen=True, slots=True)
class _Version:
    """Which file the server has: what identifies its contents, and its size."""

    validator: str | None
    total: int | None

    @classmethod
    def of(cls, response: HTTPResponse) -> _Version:
        headers = response.headers
        _, _, total = headers.get("Content-Range", "").partition("/")
        size = total if response.status == 206 else headers.get("Content-Length", "")
        validator = headers.get("ETag") or headers.get("Last-Modified")
        return cls(validator, int(size) if size.isdecimal() else None)


class _Transfer:
    """One file from its address to `part`, over as many connections as it takes."""

    def __init__(self, download: Download, part: Path, progress: Progress) -> None:
        self._download = download
        self._part = part
        self._progress = progress

    def run(self) -> None:
        for _ in range(ATTEMPTS):
            before = self._have()
            try:
                return self._attempt()
            except _Cut:
                if self._have() == before:
                    break
        raise DownloadError(
            f"{self._download.name}: the connection to {self._host()} was cut after "
            f"{self._have()} bytes; run the command again, it goes on from there"
        )

    def _attempt(self) -> None:
        known = self._version()
        if known.total is not None and self._have() == known.total:
            return  # it was cut after the last byte
        with self._open(known) as response:
            version = _Version.of(response)
            if response.status == 206 and not self._continues(response, known, version):
                _remove(self._part)  # another file, or another place in it
                raise _Cut
            self._check(response, version)
            goes_on = response.status == 206
            _write_json(_beside(self._part), {**asdict(version), "url": self._download.url})
            with self._part.open("ab" if goes_on else "wb") as file:
                self._copy(response, file, version)

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _version(self) -> _Version:
        """Of what is there already; without anything that identifies it, it is no use.

        A validator does that among the versions of one address, and not between two.
        """
        written = _read_json(_beside(self._part))
        version = _Version(written.get("validator"), written.get("total"))
        if version.validator is None or written.get("url") != self._download.url:
            _remove(self._part)
        return version if self._have() else _Version(None, None)

    def _open(self, known: _Version) -> HTTPResponse:
        import urllib.error
        import urllib.request
        from http.client import HTTPException

        headers = {"User-Agent": "xtalk", "Accept-Encoding": "identity"}
        if self._have():
            headers["Range"] = f"bytes={self._have()}-"
            # A weak tag must not stand there; the answer's own is compared in any case.
            if known.validator and not known.validator.startswith("W/"):
                headers["If-Range"] = known.validator
        request = urllib.request.Request(self._download.url, headers=headers)
        opener = urllib.request.build_opener(_redirects())
        try:
            response: HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and self._have():  # the file became shorter
                _remove(self._part)
                raise _Cut from None
            raise DownloadError(self._refused(f"answers {error.code} {error.reason}")) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DownloadError(self._refused(f"cannot be reached: {reason}")) from error
        return response

    def _continues(self, response: HTTPResponse, known: _Version, found: _Version) -> bool:
        start = response.headers.get("Content-Range", "").startswith(f"bytes {self._have()}-")
        same = known.total is None or found.total in (None, known.total)
        return start and same and found.validator == known.validator

    def _check(self, response: HTTPResponse, version: _Version) -> None:
        """Refuse what cannot be the file, before it is loaded."""
        name, size = self._download.name, self._download.size
        if version.total is not None and size is not None and version.total != size:
            raise DownloadError(
                f"{name}: the file at {self._download.url} has {version.total} bytes, but the "
                f"catalogue says {size}"
            )
        checked = size is not None or self._download.sha256 or response.chunked
        if version.total is None and not checked:
            raise DownloadError(f"{name}: {self._host()} does not say how long the file is")

    def _copy(self, response: HTTPResponse, file: IO[bytes], version: _Version) -> None:
        done, total = self._have(), version.total or self._download.size
        self._progress(done, total)
        for piece in self._pieces(response):
            file.write(piece)
            done += len(piece)
            self._progress(done, total)
        if total is not None and done != total:
            raise _Cut

    def _pieces(self, response: HTTPResponse) -> Iterator[bytes]:
        from http.client import HTTPException

        while True:
            try:
                piece = response.read(PIECE)
            except (OSError, HTTPException) as error:
                raise _Cut from error
            if not piece:
                return
            yield piece

    def _host(self) -> str:
        from urllib.parse import urlsplit

        return urlsplit(self._download.url).hostname or self._download.url

    def _refused(self, what: str) -> str:
        return (
            f"{self._download.name}: {self._host()} {what}; is the address still right? "
            f"{self._download.url} can also be fetched by other means, and the model be given by "
            "its path"
        )


def _redirects() -> Any:
    """Follows a redirection, but not from https to anything that is less."""
    import urllib.error
    import urllib.request

    class Redirects(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, url: str):  # type: ignore[no-untyped-def]
            safe = url.startswith("https://") or (
                url.startswith("http://") and req.full_url.startswith("http://")
            )
            if not safe:
                raise urllib.error.URLError(f"it redirects to the unsafe address {url}")
            return super().redirect_request(req, fp, code, msg, headers, url)

    return Redirects()


# --- archives -----------------------------------------------------------------------------------

_TAR = (".tar.bz2", ".tar.gz", ".tar.xz", ".tbz2", ".tgz", ".txz", ".tar")


def _unpacked(download: Download, part: Path) -> Path:
    """What is to be put in place: the file, or the folder of what was in it."""
    from urllib.parse import urlsplit

    name = urlsplit(download.url).path.lower()
    if not name.endswith((*_TAR, ".zip")):
        return part
    folder = _unpacking(part)
    _remove(folder)
    folder.mkdir()
    try:
        (_unzip if name.endswith(".zip") else _untar)(part, folder)
    except DownloadError as error:
        _remove(folder)
        _remove(part)
        raise DownloadError(f"{download.name}: {error}; it was thrown away") from error.__cause__
    except OSError:
        _remove(folder)  # the disk is full, say; the archive itself may be good
        raise
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _untar(archive: Path, folder: Path) -> None:
    import lzma
    import tarfile
    import zlib

    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                source = tar.extractfile(member) if member.isreg() else None
                if source is None and not member.isdir():
                    raise DownloadError(f"the archive holds {member.name!r}, a link or a device")
                _write(folder, member.name, source)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DownloadError(f"the archive is damaged: {error}") from error


def _unzip(archive: Path, folder: Path) -> None:
    import stat
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(archive) as zipped:
            for member in zipped.infolist():
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise DownloadError(f"the archive holds {member.filename!r}, a link")
                if member.is_dir():
                    _write(folder, member.filename, None)
                    continue
                with zipped.open(member) as source:
                    _write(folder, member.filename, source)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        # A RuntimeError is an archive with a password.
        raise DownloadError(f"the archive is damaged: {error}") from error


def _write(folder: Path, name: str, source: IO[bytes] | None) -> None:
    """One member of an archive below the folder; None makes a folder of it."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or PureWindowsPath(name).drive:
        raise DownloadError(f"the archive holds {name!r}, a path that leads out of its folder")
    path = folder.joinpath(*parts)
    if source is None:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, PIECE)


# --- files --------------------------------------------------------------------------------------


@contextmanager
def _lock(path: Path, name: str) -> Iterator[None]:
    """Hold the file, or say who does; the system lets go of it however the process ends."""
    with path.open("ab") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise DownloadError(f"{name} is being downloaded already; wait until it is") from None
        yield


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _unpacking(part: Path) -> Path:
    return part.with_name(f"{part.name}.unpacked")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _read_json(path: Path) -> dict[str, Any]:
    """{} where there is none, or where it was cut."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content, indent=2), "utf-8")
    new.replace(path)
