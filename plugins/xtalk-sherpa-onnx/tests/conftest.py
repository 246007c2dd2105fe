"""What the tests share: models that hear and speak in tones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tone_models import ToneModels


@pytest.fixture(scope="session")
def tone_models(tmp_path_factory: pytest.TempPathFactory) -> ToneModels:
    """The files, written when they are first asked for."""
    return ToneModels(tmp_path_factory.mktemp("tone models"))
