"""What every describer of sound must do."""

from __future__ import annotations

from typing import Any, ClassVar

from xtalk.audio import RATE_IN, float_to_pcm, silence
from xtalk.speech.interfaces import Captioner
from xtalk.testing.recordings import recording
from xtalk.testing.suites.base import SESSIONS, Suite, at_once, given_up, shared, words

__all__ = ["CaptionerSuite"]

LONGEST = 2_000  # characters; more is not a caption


class CaptionerSuite(Suite[Captioner]):
    """A describer of sound. `speech` names a recording of `xtalk.testing`."""

    slot = "captioner"
    speech: ClassVar[str] = "what-time-is-it"

    @shared
    async def test_it_describes_speech_in_words(self, captioner: Captioner) -> None:
        caption = await captioner.async_caption(self.sound())
        assert words(caption), "no words"
        assert len(caption) < LONGEST and not caption.lstrip().startswith("{")

    @shared
    async def test_a_stream_is_the_whole_caption(self, captioner: Captioner) -> None:
        whole = await captioner.async_caption(self.sound())
        pieces = [piece async for piece in captioner.async_caption_stream(self.sound())]
        assert "".join(pieces).strip() == whole.strip()

    @shared
    async def test_any_sound_can_be_described(self, captioner: Captioner) -> None:
        import numpy as np

        noise = float_to_pcm(0.3 * np.random.default_rng(1).standard_normal(RATE_IN))
        clipped = float_to_pcm(np.sign(np.sin(np.arange(RATE_IN) / 10)))
        for pcm in (silence(2.0, RATE_IN).pcm, noise, clipped):
            assert words(await captioner.async_caption(pcm))

    @shared
    async def test_little_or_no_sound_does_no_harm(self, captioner: Captioner) -> None:
        expected = await captioner.async_caption(self.sound())
        for pcm in (b"", self.sound()[:2], self.sound()[:320]):
            assert isinstance(await captioner.async_caption(pcm), str)
        assert await captioner.async_caption(self.sound()) == expected

    @shared
    async def test_async_is_the_same(self, captioner: Captioner) -> None:
        from xtalk.threads import run_in_thread

        found = await captioner.async_caption(self.sound())
        assert found == await run_in_thread(captioner.caption, self.sound())

    @shared
    async def test_eight_sessions_at_once_hear_as_if_alone(self, captioner: Captioner) -> None:
        sounds = [self.sound(), silence(2.0, RATE_IN).pcm] * (SESSIONS // 2)
        alone = [await captioner.async_caption(pcm) for pcm in sounds[:2]]
        asking: list[Any] = [lambda pcm=pcm: captioner.async_caption(pcm) for pcm in sounds]
        assert await at_once(asking) == alone * (SESSIONS // 2)

    @shared
    async def test_it_is_given_up_at_once(self, captioner: Captioner) -> None:
        expected = await captioner.async_caption(self.sound())
        await given_up(lambda: captioner.async_caption(self.sound() * 4))
        assert await captioner.async_caption(self.sound()) == expected

    def sound(self) -> bytes:
        """The recording: PCM16 mono at 16 kHz."""
        return recording(self.speech).pcm
