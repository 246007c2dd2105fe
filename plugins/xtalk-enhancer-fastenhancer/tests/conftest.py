"""A small network with the inputs and the outputs of FastEnhancer S."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from network import write

    path = tmp_path_factory.mktemp("network") / "network.onnx"
    write(path)
    return path
