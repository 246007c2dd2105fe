"""FastEnhancerS keeps what the slot promises, with a network of the same inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from xtalk_enhancer_fastenhancer.fastenhancer import FastEnhancerS

from xtalk.testing.suites import EnhancerSuite


class TestFastEnhancerS(EnhancerSuite):
    model = FastEnhancerS
    sdk = ("onnxruntime", "numpy", "pydantic")

    @pytest.fixture
    def arguments(self, network: Path) -> Mapping[str, Any]:
        return {"model_path": str(network)}
