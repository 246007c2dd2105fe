"""What every encoder of speakers must do."""

from __future__ import annotations

from typing import Any, ClassVar

from xtalk.audio import RATE_IN, AudioFrame, float_to_pcm, pcm_to_float, resample, silence
from xtalk.speech.interfaces import SpeakerEncoder
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import SESSIONS, Suite, at_once, given_up, shared

__all__ = ["SpeakerEncoderSuite"]


class SpeakerEncoderSuite(Suite[SpeakerEncoder]):
    """An encoder of speakers. `speech` and `again` name recordings of one voice.

    The other voice of the checks is the first one played faster, so higher: override
    `other_voice` where there are recordings of two speakers.
    """

    slot = "speaker_encoder"
    speech: ClassVar[str] = "what-can-you-do"
    again: ClassVar[str] = "two-plus-three"

    @shared
    async def test_a_voice_is_a_vector(self, encoder: SpeakerEncoder) -> None:
        import numpy as np

        vector = await encoder.async_extract(self.voice())
        assert vector.ndim == 1 and vector.size > 1
        assert np.issubdtype(vector.dtype, np.floating)
        assert np.isfinite(vector).all() and float(np.linalg.norm(vector)) > 0

    @shared
    async def test_the_same_recording_is_the_same_vector(self, encoder: SpeakerEncoder) -> None:
        one, other = [await encoder.async_extract(self.voice()) for _ in range(2)]
        assert encoder.similarity(one, other) > 0.999

    @shared
    async def test_a_voice_is_nearer_to_itself_than_to_another(
        self, encoder: SpeakerEncoder
    ) -> None:
        voice = await encoder.async_extract(self.voice())
        same = await encoder.async_extract(self.same_voice())
        other = await encoder.async_extract(self.other_voice())
        assert encoder.similarity(voice, same) > encoder.similarity(voice, other)

    @shared
    async def test_how_loud_it_is_matters_little(self, encoder: SpeakerEncoder) -> None:
        quiet = float_to_pcm(0.3 * pcm_to_float(self.voice()))
        voice, soft, other = [
            await encoder.async_extract(pcm) for pcm in (self.voice(), quiet, self.other_voice())
        ]
        assert encoder.similarity(voice, soft) > encoder.similarity(voice, other)

    @shared
    async def test_similarity_is_symmetric_and_at_most_one(self, encoder: SpeakerEncoder) -> None:
        one = await encoder.async_extract(self.voice())
        other = await encoder.async_extract(self.other_voice())
        found, back = encoder.similarity(one, other), encoder.similarity(other, one)
        assert abs(found - back) < 1e-4 and -1.001 <= found <= 1.001
        assert abs(encoder.similarity(one, one) - 1) < 1e-3

    @shared
    async def test_little_or_no_sound_does_no_harm(self, encoder: SpeakerEncoder) -> None:
        """A vector, or a sentence that says why there is none; and the next voice is known."""
        import numpy as np

        expected = await encoder.async_extract(self.voice())
        for pcm in (b"", self.voice()[:320], silence(1.0, RATE_IN).pcm):
            try:
                vector = await encoder.async_extract(pcm)
            except ValueError as error:
                assert " " in str(error), "say in a sentence what was expected"
            else:
                assert vector.shape == expected.shape and np.isfinite(vector).all()
        found = await encoder.async_extract(self.voice())
        assert encoder.similarity(found, expected) > 0.999

    @shared
    async def test_async_is_the_same(self, encoder: SpeakerEncoder) -> None:
        found = await encoder.async_extract(self.voice())
        assert encoder.similarity(found, encoder.extract(self.voice())) > 0.999

    @shared
    async def test_eight_sessions_at_once_hear_as_if_alone(self, encoder: SpeakerEncoder) -> None:
        voices = [self.voice(), self.other_voice()] * (SESSIONS // 2)
        alone = [await encoder.async_extract(pcm) for pcm in voices[:2]]
        asking: list[Any] = [lambda pcm=pcm: encoder.async_extract(pcm) for pcm in voices]
        for number, vector in enumerate(await at_once(asking)):
            assert encoder.similarity(vector, alone[number % 2]) > 0.999

    @shared
    async def test_it_is_given_up_at_once(self, encoder: SpeakerEncoder) -> None:
        expected = await encoder.async_extract(self.voice())
        await given_up(lambda: encoder.async_extract(self.voice() * 4))
        found = await encoder.async_extract(self.voice())
        assert encoder.similarity(found, expected) > 0.999

    def voice(self) -> bytes:
        """PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm

    def same_voice(self) -> bytes:
        """The same speaker says something else."""
        return recording(self.again).pcm

    def other_voice(self) -> bytes:
        """Another speaker: the first one played 1.5 times as fast."""
        return resample(AudioFrame(self.voice(), RATE_IN * 3 // 2), RATE_IN).pcm
