"""The managers that programs subclass, rewire or replace."""

from xtalk.managers.agent import LLMAgentManager
from xtalk.managers.asr import ASRManager
from xtalk.managers.captioner import CaptionerManager
from xtalk.managers.embeddings import EmbeddingsManager
from xtalk.managers.enhancer import EnhancerManager
from xtalk.managers.input_gateway import InputGateway
from xtalk.managers.latency import LatencyManager
from xtalk.managers.output_gateway import OutputGateway
from xtalk.managers.recording import RecordingManager
from xtalk.managers.retrieval import RetrievalManager
from xtalk.managers.speaker import SpeakerManager
from xtalk.managers.thought import ThoughtManager
from xtalk.managers.tts import TTSManager
from xtalk.managers.turn_taking import TurnTakingManager
from xtalk.managers.vad import VADManager

__all__ = [
    "ASRManager",
    "CaptionerManager",
    "EmbeddingsManager",
    "EnhancerManager",
    "InputGateway",
    "LLMAgentManager",
    "LatencyManager",
    "OutputGateway",
    "RecordingManager",
    "RetrievalManager",
    "SpeakerManager",
    "TTSManager",
    "ThoughtManager",
    "TurnTakingManager",
    "VADManager",
]
