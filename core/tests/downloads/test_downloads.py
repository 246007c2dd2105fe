"""Models' files over a real HTTP server: whole, cut, changed, refused, and evil."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer, serve

from xtalk.downloads import fetch, locate, models_folder
from xtalk.errors import ConfigError, DownloadError
from xtalk.hookspecs import Download

pytestmark = pytest.mark.real_time

CONTENT = random.Random(1).randbytes(1_000_000)
OTHER = random.Random(2).randbytes(1_000_000)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "models"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as server:
        server.content = CONTENT
        yield server


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def model(server: FileServer, name: str = "parrot", ending: str = ".onnx", **more: Any) -> Download:
    return Download(name, server.url(f"{name}{ending}"), **more)


# --- finding --------------------------------------------------------------------------------------


def test_a_path_is_found(tmp_path: Path) -> None:
    assert locate(str(tmp_path)) == tmp_path


def test_a_path_in_the_home_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "parrot.onnx").touch()
    assert locate("~/parrot.onnx") == tmp_path / "parrot.onnx"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("parrot", "the model 'parrot' is not here; run: xtalk models get parrot"),
        ("models/parrot.onnx", "there is no file or folder 'models/parrot.onnx'"),
        ("..", None),
        ("", "there is no file or folder ''"),
    ],
)
def test_what_is_not_here_is_said(name: str, why: str | None) -> None:
    if why is None:
        assert locate(name) == Path(name)
    else:
        with pytest.raises(ConfigError, match=why):
            locate(name)


def test_the_models_are_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XTALK_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert models_folder() == Path("/somewhere/xtalk/models")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert models_folder().parts[-2:] == ("xtalk", "models")


# --- fetching -------------------------------------------------------------------------------------


def test_a_file_is_fetched_and_found(server: FileServer, models: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetched = fetch(model(server), lambda done, total: told.append((done, total)))
    assert locate("parrot") == fetched.path == models / "parrot"
    assert fetched.path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in (models / ".partial").iterdir()] == ["parrot.lock"]


def test_what_is_there_is_not_fetched_again(server: FileServer) -> None:
    fetch(model(server))
    assert not fetch(model(server)).downloaded and len(server.asked) == 1


def test_a_known_checksum_is_verified(server: FileServer) -> None:
    assert fetch(model(server, sha256=sha256(CONTENT))).compared == "catalogue"


def test_a_wrong_checksum_is_refused(server: FileServer, models: Path) -> None:
    with pytest.raises(DownloadError, match="but the catalogue says"):
        fetch(model(server, sha256=sha256(OTHER)))
    with pytest.raises(ConfigError, match="xtalk models get parrot"):
        locate("parrot")
    assert not (models / ".partial" / "parrot").exists(), "or the next try would go on with it"


def test_an_unknown_checksum_is_recorded_and_compared_later(
    server: FileServer, models: Path
) -> None:
    assert fetch(model(server)).compared is None
    record = json.loads((models / ".records" / "parrot.json").read_text())
    assert record["sha256"] == sha256(CONTENT) and record["size"] == len(CONTENT)
    assert fetch(model(server), again=True).compared == "record"


def test_a_file_that_differs_from_the_first_one_is_refused_and_the_first_kept(
    server: FileServer,
) -> None:
    fetch(model(server))
    server.content = OTHER
    with pytest.raises(DownloadError, match=r"the first download had .* to accept"):
        fetch(model(server), again=True)
    assert locate("parrot").read_bytes() == CONTENT


def test_a_size_that_differs_is_refused_before_it_is_loaded(server: FileServer) -> None:
    with pytest.raises(DownloadError, match="has 1000000 bytes, but the catalogue says 5"):
        fetch(model(server, size=5))


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_a_refusal_is_said(server: FileServer, status: int) -> None:
    server.status = status
    with pytest.raises(DownloadError, match=rf"parrot: 127.0.0.1 answers {status} .* its path"):
        fetch(model(server))


def test_a_server_that_is_not_there_is_said() -> None:
    with serve() as server:
        gone = model(server)
    with pytest.raises(DownloadError, match=r"127.0.0.1 cannot be reached: .*refused"):
        fetch(gone)


def test_a_file_of_unknown_length_needs_something_to_compare(server: FileServer) -> None:
    server.sized = False
    with pytest.raises(DownloadError, match="does not say how long"):
        fetch(model(server))
    assert fetch(model(server, sha256=sha256(CONTENT))).path.read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/model.onnx"])
def test_a_redirection_to_something_else_than_http_is_refused(
    server: FileServer, address: str
) -> None:
    server.redirect = address
    with pytest.raises(DownloadError, match="parrot"):
        fetch(model(server))


def test_a_redirection_is_followed(server: FileServer) -> None:
    with serve() as front:
        front.redirect = server.url("elsewhere")
        assert fetch(model(front)).path.read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_said(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XTALK_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(DownloadError, match=r"cannot be kept in .* XTALK_MODELS"):
        fetch(model(server))


def test_two_at_once_are_one_and_a_sentence(server: FileServer) -> None:
    server.at_half = threading.Event()
    first = threading.Thread(target=fetch, args=(model(server),))
    first.start()
    assert server.at_half.wait(10)
    with pytest.raises(DownloadError, match="is being downloaded already"):
        fetch(model(server))
    with pytest.raises(ConfigError, match="is not here"):
        locate("parrot")  # half a file is not a model
    server.go_on.set()
    first.join()
    assert locate("parrot").read_bytes() == CONTENT


# --- cut, and resumed -----------------------------------------------------------------------------


def test_a_cut_is_resumed_in_the_same_command(server: FileServer) -> None:
    server.cuts = [400_000, 300_000]
    assert fetch(model(server)).path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=400000-", "bytes=700000-"]


def test_a_cut_is_resumed_by_the_next_command(server: FileServer) -> None:
    server.cuts = [400_000, 0]
    with pytest.raises(DownloadError, match=r"cut after 400000 bytes; run the command again"):
        fetch(model(server))
    with pytest.raises(ConfigError, match="is not here"):
        locate("parrot")
    assert fetch(model(server)).path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=400000-"


def test_progress_goes_on_where_it_stopped(server: FileServer) -> None:
    server.cuts = [400_000]
    done: list[int] = []
    fetch(model(server), lambda at, total: done.append(at))
    assert done == sorted(done) and done.count(400_000) == 2


@pytest.mark.parametrize("heeds", [True, False])
def test_a_file_that_changed_meanwhile_is_not_glued(server: FileServer, heeds: bool) -> None:
    server.cuts, server.heeds_if_range = [400_000, 0], heeds
    with pytest.raises(DownloadError):
        fetch(model(server))
    server.content = OTHER
    assert fetch(model(server)).path.read_bytes() == OTHER


def test_a_file_of_another_address_is_not_glued(server: FileServer) -> None:
    """Though it has the same validator and the same size."""
    server.tag, server.cuts = '"1"', [400_000, 0]
    with pytest.raises(DownloadError):
        fetch(model(server))
    server.content = OTHER
    elsewhere = Download("parrot", server.url("parrot-2.onnx"))
    assert fetch(elsewhere).path.read_bytes() == OTHER
    assert server.asked[-1] == ""


def test_a_file_that_became_shorter_is_fetched_anew(server: FileServer) -> None:
    server.cuts, server.heeds_if_range = [400_000, 0], False
    with pytest.raises(DownloadError):
        fetch(model(server))
    server.content = OTHER[:1000]
    assert fetch(model(server)).path.read_bytes() == OTHER[:1000]


def test_without_ranges_it_starts_over(server: FileServer) -> None:
    server.cuts, server.ranges = [400_000], False
    assert fetch(model(server)).path.read_bytes() == CONTENT


def test_without_anything_that_identifies_the_file_it_starts_over(server: FileServer) -> None:
    server.cuts, server.tagged = [400_000], False
    assert fetch(model(server)).path.read_bytes() == CONTENT
    assert server.asked == ["", ""]


@pytest.mark.parametrize("heeds", [True, False])
def test_a_weak_tag_tells_enough_to_go_on(server: FileServer, heeds: bool) -> None:
    """It must not stand in If-Range, but a file that differs has another one."""
    server.cuts, server.weak, server.heeds_if_range = [400_000], True, heeds
    done: list[int] = []
    fetched = fetch(model(server), lambda at, total: done.append(at))
    assert fetched.path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=400000-"]
    assert done.count(0) == 1, "it began anew"


def test_a_cut_in_a_file_of_chunks_is_seen(server: FileServer) -> None:
    server.chunked, server.cuts = True, [400_000]
    assert fetch(model(server)).path.read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_server_that_falls_silent_is_given_up(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xtalk.downloads.TIMEOUT_S", 0.1)
    server.at_half, server.ranges = threading.Event(), False
    with pytest.raises(DownloadError, match="was cut after"):
        fetch(model(server))
    server.go_on.set()


def test_a_server_that_always_cuts_is_given_up(server: FileServer) -> None:
    server.cuts, server.ranges = [400_000] * 100, False
    with pytest.raises(DownloadError, match="was cut"):
        fetch(model(server))
    assert len(server.asked) <= 5


def test_a_download_that_ended_before_it_was_put_in_place_needs_no_second_one(
    server: FileServer, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(whole: Path, path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("xtalk.downloads._put", full)
        with pytest.raises(DownloadError, match="No space left"):
            fetch(model(server))
    assert fetch(model(server)).path.read_bytes() == CONTENT
    assert len(server.asked) == 1


# --- archives -------------------------------------------------------------------------------------


def tar(mode: str, *members: tuple[str, bytes | str]) -> bytes:
    """A tar archive; a member with a text instead of bytes is a link to it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


MEMBERS = (("parrot-1/tokens.txt", b"a 0\n"), ("parrot-1/bpe/model", CONTENT[:1000]))
ARCHIVES: list[tuple[str, Callable[..., bytes]]] = [
    (".tar.bz2", lambda *members: tar("bz2", *members)),
    (".tar.gz", lambda *members: tar("gz", *members)),
    (".tgz", lambda *members: tar("gz", *members)),
    (".tar.xz", lambda *members: tar("xz", *members)),
    (".zip", zipped),
]


@pytest.mark.parametrize(("ending", "pack"), ARCHIVES)
def test_an_archive_is_unpacked_without_its_top_folder(
    server: FileServer, models: Path, ending: str, pack: Callable[..., bytes]
) -> None:
    server.content = pack(*MEMBERS)
    folder = fetch(model(server, ending=ending)).path
    assert (folder / "tokens.txt").read_bytes() == b"a 0\n"
    assert (folder / "bpe" / "model").read_bytes() == CONTENT[:1000]
    assert sorted(path.name for path in models.iterdir()) == [".partial", ".records", "parrot"]
    assert [path.name for path in (models / ".partial").iterdir()] == ["parrot.lock"]


def test_an_archive_without_a_top_folder_is_unpacked(server: FileServer) -> None:
    server.content = zipped(("tokens.txt", b"a"), ("model.onnx", b"b"))
    folder = fetch(model(server, ending=".zip")).path
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "tokens.txt"]


def test_an_archive_takes_the_place_of_the_old_one(server: FileServer) -> None:
    server.content = tar("gz", *MEMBERS)
    fetch(model(server, ending=".tar.gz"))
    server.content = tar("gz", ("parrot-1/tokens.txt", b"b 1\n"), ("parrot-1/new", b""))
    new = model(server, ending=".tar.gz", sha256=sha256(server.content))
    folder = fetch(new, again=True).path
    assert sorted(path.name for path in folder.iterdir()) == ["new", "tokens.txt"]


EVIL = [
    (".tar.gz", tar("gz", ("../outside", b"x")), "leads out"),
    (".tar.gz", tar("gz", ("a/../../outside", b"x")), "leads out"),
    (".tar.gz", tar("gz", ("/tmp/outside", b"x")), "leads out"),
    (".tar.gz", tar("gz", ("link", "/etc"), ("link/outside", b"x")), "a link or a device"),
    (".zip", zipped(("../outside", b"x")), "leads out"),
    (".zip", zipped(("C:/outside", b"x")), "leads out"),
    (".tar.gz", tar("gz", ("a\\..\\outside", b"x")), "leads out"),
    (".tar.gz", tar("gz", *MEMBERS)[:-200], "is damaged"),
    (".tar.bz2", CONTENT, "is damaged"),
    (".zip", zipped(*MEMBERS)[:-20], "is damaged"),
]


@pytest.mark.parametrize(("ending", "content", "why"), EVIL)
def test_an_evil_or_damaged_archive_leaves_nothing(
    server: FileServer, models: Path, ending: str, content: bytes, why: str
) -> None:
    server.content = content
    with pytest.raises(DownloadError, match=why):
        fetch(model(server, ending=ending))
    left = [path.name for path in models.rglob("*") if path.is_file()]
    assert sorted(left) == ["parrot.json", "parrot.lock"], "the version it had, and the lock"
    assert not (models.parent / "outside").exists()


def test_a_zip_with_a_link_is_refused(server: FileServer) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    server.content = buffer.getvalue()
    with pytest.raises(DownloadError, match="a link"):
        fetch(model(server, ending=".zip"))


# --- the command ----------------------------------------------------------------------------------

HOOKS = """
from xtalk.hookspecs import Download

@hookimpl
def xtalk_downloads():
    yield Download("parrot-en", "{url}", "a small parrot", types=("Parrot",), license="MIT")
    yield Download("parrot-zh", "{url}", sha256="{sha256}", size={size})
"""


@pytest.fixture
def run(
    server: FileServer,
    installed: Any,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Run `xtalk models` here: exit status, stdout, stderr."""
    from xtalk.cli import main

    url = server.url("parrot.onnx")
    installed.add("birds", HOOKS.format(url=url, sha256=sha256(CONTENT), size=len(CONTENT)))

    def run(*arguments: str) -> tuple[int, str, str]:
        for name, value in installed.environ(XTALK_MODELS=str(models)).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        status = main(["models", *arguments])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


Run = Callable[..., tuple[int, str, str]]


def test_the_list_says_what_there_is(run: Run) -> None:
    status, out, err = run("list")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "parrot-en",
        "  a small parrot; for Parrot; licence: MIT; checksum not known",
        "parrot-zh",
        "  1.0 MB",
    ]


def test_the_list_says_what_is_here(run: Run, models: Path) -> None:
    run("get", "parrot-en")
    assert "parrot-en (here)\n" in run("list")[1]
    english, chinese = json.loads(run("list", "--json")[1])
    assert english["path"] == str(models / "parrot-en") and chinese["path"] is None
    assert chinese["size"] == len(CONTENT)


def test_get_prints_the_path_and_says_what_was_compared(run: Run, models: Path) -> None:
    status, out, err = run("get", "parrot-zh")
    assert (status, out) == (0, f"{models / 'parrot-zh'}\n")
    assert "parrot-zh has the SHA-256 that the catalogue says" in err
    assert "parrot-zh 100 % of 1.0 MB" in err and "\r" not in err
    assert "was there already" in run("get", "parrot-zh")[2]


def test_get_says_that_nothing_was_known(run: Run) -> None:
    assert f"its SHA-256, {sha256(CONTENT)}, is recorded" in run("get", "parrot-en")[2]
    assert "that it had at the first download" in run("get", "parrot-en", "--again")[2]


def test_get_for_programs(run: Run, models: Path) -> None:
    told = json.loads(run("get", "parrot-zh", "--json")[1])
    assert told == {
        "name": "parrot-zh",
        "path": str(models / "parrot-zh"),
        "sha256": sha256(CONTENT),
        "compared": "catalogue",
        "downloaded": True,
    }


def test_a_name_that_no_plugin_knows_is_said(run: Run) -> None:
    assert run("get", "parot-en") == (
        1,
        "",
        "xtalk: no installed plugin knows where to fetch 'parot-en'; did you mean parrot-en?\n",
    )


def test_a_failed_download_is_one_sentence(run: Run, server: FileServer) -> None:
    server.status = 404
    status, out, err = run("get", "parrot-en")
    assert (status, out) == (1, "") and err.count("xtalk: ") == 1 and "404" in err


def test_a_plugin_whose_catalogue_is_wrong_costs_its_own_models_only(
    run: Run, installed: Any
) -> None:
    installed.add(
        "liar",
        """
        from xtalk.hookspecs import Download
        @hookimpl
        def xtalk_downloads():
            yield Download("../../.ssh/config", "https://models.example/x")
        """,
    )
    status, out, err = run("list")
    assert status == 0 and len(out.splitlines()) == 4
    assert err.startswith("xtalk: plugin liar: xtalk_downloads raised ValueError: a download is")


def test_a_terminal_gets_a_bar() -> None:
    from xtalk.commands.models import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    progress = Progress("parrot", terminal)
    for done in (0, 5, 500_000, 500_001, 1_000_000):
        progress(done, 1_000_000)
    progress.close()
    lines = terminal.getvalue().split("\r")
    assert len(lines) == 4, "nothing for the same per cent"
    assert lines[-1] == "parrot [#########################] 100 % of 1.0 MB\n"


def test_listing_loads_no_http_client(installed: Any) -> None:
    code = "import sys; from xtalk.cli import main; main(['models', 'list']); "
    code += "print([m for m in ('urllib.request', 'tarfile', 'ssl') if m in sys.modules])"
    result = installed.run(code=code)
    assert result.stdout.splitlines()[-1] == "[]", result.stderr
