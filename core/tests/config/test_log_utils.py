"""Logging is set up when asked, and leaves nothing behind."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from xtalk import log_utils


def test_importing_changes_nothing_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import logging, xtalk.log_utils as l; "
        "assert not logging.getLogger().handlers and not l.logger.handlers; "
        "l.setup_logging(); assert not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []


def test_setting_up_twice_keeps_one_handler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_utils, "logger", logging.Logger("xtalk"))
    log_utils.setup_logging()
    log_utils.setup_logging(logging.DEBUG)
    log_utils.logger.debug("once")
    assert capsys.readouterr().err.count("once") == 1


def test_other_loggers_are_kept_discreet_unless_their_level_was_chosen() -> None:
    quiet, chosen = (logging.getLogger(f"{__name__}.{name}") for name in ("quiet", "chosen"))
    chosen.setLevel(logging.DEBUG)
    log_utils.keep_discreet(quiet.name, chosen.name)
    assert (quiet.level, chosen.level) == (logging.WARNING, logging.DEBUG)


@pytest.mark.parametrize("client", ["httpx", "httpx2", "httpcore2.http11", "openai._base_client"])
def test_no_command_shows_what_clients_log_of_their_requests(client: str) -> None:
    code = (
        "import logging; from xtalk.cli import main; main(['--debug', 'plugins']); "
        "logging.getLogger('xtalk.any').debug('plain'); "
        f"logging.getLogger({client!r}).info('GET http://localhost/?key=sk-secret')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "plain" in done.stderr
    assert "sk-secret" not in done.stderr
