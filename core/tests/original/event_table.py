"""The events of the original, class by class: TYPE, fields, defaults (section 2.9)."""

from __future__ import annotations

from typing import Any

AUDIO = {"audio_data": b"", "sample_rate": 16000, "channels": 1, "is_final": False}
AUDIO["audio_format"] = "pcm_s16le"

EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "WebSocketMessageReceived": ("websocket.message_received", {"message": ""}),
    "AudioFrameReceived": ("audio.frame_received", AUDIO),
    "EnhancedAudioFrameReceived": ("audio.enhanced_frame_received", AUDIO),
    "VADSpeechStart": ("vad.speech_start", {"confidence": 0.0, "speech_probability": 0.0}),
    "VADSpeechEnd": ("vad.speech_end", {"confidence": 0.0, "speech_probability": 0.0}),
    "ASRResultPartial": (
        "asr.result_partial",
        {"text": "", "confidence": 0.0, "is_final": False, "display_text": "", "turn_id": 0},
    ),
    "ASRResultFinal": (
        "asr.result_final",
        {
            "text": "",
            "confidence": 0.0,
            "is_final": True,
            "display_text": "",
            "semantic_tag": "<complete>",
            "turn_id": 0,
        },
    ),
    "LLMFirstChunk": ("llm.first_chunk", {}),
    "LLMFirstSentence": ("llm.sentence_ready", {}),
    "ConversationEnded": ("conversation.ended", {"reason": ""}),
    "TTSStarted": ("tts.started", {}),
    "TTSStopped": ("tts.stopped", {}),
    "TTSPaused": ("tts.paused", {}),
    "TTSResumed": ("tts.resumed", {}),
    "TTSFinished": ("tts.finished", {}),
    "LLMAgentResponseUpdate": ("llm_agent.response_update", {"text": "", "turn_id": 0}),
    "LLMAgentResponseFinish": ("llm_agent.response_finish", {"text": "", "turn_id": 0}),
    "TTSVoiceChange": ("tts.reference_audio_changed", {"voice_name": ""}),
    "TTSEmotionChange": ("tts.emotion_changed", {"emotion_name": "", "emotion_vector": []}),
    "TTSSpeedChange": ("tts.speed_changed", {"speed": 1.0}),
    "TTSChunkGenerated": ("tts.chunk_generated", {"audio_chunk": b"", "chunk_index": 0}),
    "TTSChunkPlayedConfirm": ("tts.chunk_played_confirm", {"chunk_index": 0}),
    "TTSPlaybackFinished": ("tts.playback_finished", {}),
    "VerificationResult": (
        "verification.result",
        {
            "is_valid": False,
            "text": "",
            "confidence": 0.0,
            "reason": "",
            "text_length": 0,
            "chunk_count": 0,
        },
    ),
    "ErrorOccurred": ("error.occurred", {"error_type": "", "error_message": "", "component": ""}),
    "CaptionUpdated": ("caption.updated", {"text": "", "is_final": False}),
    "ThoughtUpdated": ("thought.updated", {"text": "", "is_final": False}),
    "ToolCallOccurred": ("agent.tool_called", {"name": "", "args": {}}),
    "RetrievalUpdated": ("retrieval.updated", {"text": ""}),
    "TextForEmbeddingReady": ("embeddings.text_ready", {"text": ""}),
    "LatencyMetricsUpdated": (
        "metrics.latency_updated",
        {
            "network_latency_ms": 0,
            "asr_latency_ms": 0,
            "llm_first_token_ms": 0,
            "llm_sentence_ms": 0,
            "tts_first_chunk_ms": 0,
        },
    ),
    "TurnTTSStartRequested": ("turn.tts_start_requested", {}),
    "TurnTTSPauseRequested": ("turn.tts_pause_requested", {}),
    "TurnTTSResumeRequested": ("turn.tts_resume_requested", {}),
    "TurnTTSFlushRequested": ("turn.tts_flush_requested", {}),
    "TurnTTSStopRequested": ("turn.tts_stop_requested", {"reason": ""}),
    "TurnTTSTextAppendRequested": (
        "turn.tts_text_append_requested",
        {"text": "", "reason": "asr_partial"},
    ),
    "TurnLLMAgentStartRequested": ("turn.llm_agent_start_requested", {"text": ""}),
    "TurnLLMAgentResumeRequested": ("turn.llm_agent_resume_requested", {"text": ""}),
    "TurnLLMAgentPauseRequested": ("turn.llm_agent_pause_requested", {}),
    "TurnLLMAgentStopRequested": ("turn.llm_agent_stop_requested", {"reason": ""}),
    "TurnASRStartRequested": ("turn.asr_start_requested", {}),
    "TurnASREndRequested": ("turn.asr_end_requested", {}),
    "TurnASRResetRequested": ("turn.asr_reset_requested", {}),
    "TurnASRFlushRequested": ("turn.asr_flush_requested", {"reason": ""}),
    "ASRStableSegmentReady": (
        "asr.stable_segment_ready",
        {"text": "", "stability": 1.0, "start_ts": 0.0, "end_ts": 0.0},
    ),
    "TranscriptionRefined": ("asr.transcription_refined", {"text": ""}),
    "SpeakerRecognized": ("speaker.recognized", {"speaker_id": None, "reason": ""}),
    "TTSModelSwitchRequested": ("tts.model_switch_requested", {"model_type": "", "config": {}}),
    "LLMModelSwitchRequested": (
        "llm.model_switch_requested",
        {"model_name": "", "base_url": "", "api_key": "", "extra_body": None},
    ),
    "ClockSyncReceived": (
        "clock.sync_received",
        {"client_send_ts": 0.0, "server_recv_ts": 0.0, "client_recv_ts": 0.0},
    ),
}
