"""What is not configured costs nothing."""

from __future__ import annotations

from typing import Any

from xtalk import events


def test_without_the_models_nobody_asks_for_audio_and_no_turn_waits(
    converse: Any, run: Any
) -> None:
    async def main() -> None:
        async with converse() as call:
            bus = call.session.bus
            assert not bus.has(events.AudioFrameReceived)
            assert not bus.has(events.EnhancedAudioFrameReceived)
            assert call.session.before_turn == []

    run(main)
