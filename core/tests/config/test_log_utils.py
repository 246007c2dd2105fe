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
