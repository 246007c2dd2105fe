"""The managers that programs subclass, rewire or replace."""

from xtalk.managers.agent import LLMAgentManager
from xtalk.managers.asr import ASRManager
from xtalk.managers.enhancer import EnhancerManager
from xtalk.managers.input_gateway import InputGateway
from xtalk.managers.latency import LatencyManager
from xtalk.managers.output_gateway import OutputGateway
from xtalk.managers.tts import TTSManager
from xtalk.managers.turn_taking import TurnTakingManager
from xtalk.managers.vad import VADManager

__all__ = [
    "ASRManager",
    "EnhancerManager",
    "InputGateway",
    "LLMAgentManager",
    "LatencyManager",
    "OutputGateway",
    "TTSManager",
    "TurnTakingManager",
    "VADManager",
]
