"""The suites of what hears and shapes sound, with models that keep and that break a promise."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, ClassVar

import pytest
from judging import checks, suite_of
from stretch import Stretch

from xtalk.audio import RATE_OUT, pcm_to_float
from xtalk.speech.interfaces import (
    Captioner,
    SpeakerEncoder,
    SpeechEnhancer,
    SpeechSpeedController,
)
from xtalk.testing.recordings import recording
from xtalk.testing.suites import (
    CaptionerSuite,
    EnhancerSuite,
    SpeakerEncoderSuite,
    SpeedControllerSuite,
    Suite,
)

FRAME = 512  # bytes


# --- models that keep every promise ---------------------------------------------------------------


class GoodEnhancer(SpeechEnhancer):
    """Works on whole frames, and changes nothing."""

    inline = True

    def __init__(self) -> None:
        self.waiting = b""

    def enhance(self, audio: bytes) -> bytes:
        self.waiting += audio
        ready = len(self.waiting) // FRAME * FRAME
        done, self.waiting = self.waiting[:ready], self.waiting[ready:]
        return done

    def flush(self) -> bytes:
        done, self.waiting = self.waiting, b""
        return done

    def reset(self) -> None:
        self.waiting = b""

    def clone(self) -> SpeechEnhancer:
        return type(self)()


class AsyncEnhancer(GoodEnhancer):
    inline = False

    async def async_enhance(self, audio: bytes) -> bytes:
        return self.enhance(audio)

    async def async_flush(self) -> bytes:
        return self.flush()


class GoodEncoder(SpeakerEncoder):
    """The average spectrum in bands, without its loudness."""

    def extract(self, audio: bytes) -> Any:
        import numpy as np

        samples = pcm_to_float(audio)
        padded = np.pad(samples, (0, 1024))
        frames = padded[: padded.size // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024)
        average = np.abs(np.fft.rfft(frames)).mean(axis=0)[1:513]
        bands = np.log(average.reshape(64, 8).mean(axis=1) + 1e-6 * average.max() + 1e-12)
        return (bands - bands.mean() + 1e-6).astype(np.float32)


class GoodCaptioner(Captioner):
    def caption(self, audio: bytes) -> str:
        return "Somebody speaks." if any(audio) else "Nothing sounds."


class AsyncCaptioner(GoodCaptioner):
    async def async_caption(self, audio: bytes) -> str:
        return self.caption(audio)

    async def async_caption_stream(self, audio: bytes) -> AsyncIterator[str]:
        for word in self.caption(audio).split():
            yield f"{word} "


class InlineStretch(Stretch):
    inline = True


GOOD: list[tuple[type[Suite[Any]], type]] = [
    (EnhancerSuite, GoodEnhancer),
    (EnhancerSuite, AsyncEnhancer),
    (SpeakerEncoderSuite, GoodEncoder),
    (CaptionerSuite, GoodCaptioner),
    (CaptionerSuite, AsyncCaptioner),
    (SpeedControllerSuite, Stretch),
    (SpeedControllerSuite, InlineStretch),
]


def judge(base: type[Suite[Any]], model: type, check: str) -> None:
    """The check on the model, with the recordings that come with xtalk."""
    suite = suite_of(base, model, sound=lambda self: recording("what-time-is-it").pcm)
    getattr(suite, check)({})


@pytest.mark.parametrize(
    ("base", "model", "check"),
    [(base, model, check) for base, model in GOOD for check in checks(base)],
)
def test_a_good_model_passes(base: type[Suite[Any]], model: type, check: str) -> None:
    judge(base, model, check)


# --- models that break one promise each -----------------------------------------------------------


class HalfFrameEnhancer(GoodEnhancer):
    """Loses what does not fill a frame."""

    def flush(self) -> bytes:
        self.waiting = b""
        return b""


class PaddingEnhancer(GoodEnhancer):
    def flush(self) -> bytes:
        return super().flush().ljust(FRAME, b"\0")


class SeamEnhancer(GoodEnhancer):
    """Begins each piece with a zero."""

    def enhance(self, audio: bytes) -> bytes:
        return super().enhance(b"\0\0" + audio[2:])


class LateEnhancer(GoodEnhancer):
    """Twenty milliseconds of silence first, and the end is missing."""

    def __init__(self) -> None:
        self.waiting = bytes(640)

    def flush(self) -> bytes:
        done, self.waiting = super().flush()[:-640], bytes(640)
        return done


class HissingEnhancer(GoodEnhancer):
    def enhance(self, audio: bytes) -> bytes:
        return b"\0\4" * (len(super().enhance(audio)) // 2)

    def flush(self) -> bytes:
        return b"\0\4" * (len(super().flush()) // 2)


class LoudEnhancer(GoodEnhancer):
    """Twice as loud."""

    def enhance(self, audio: bytes) -> bytes:
        import numpy as np

        return np.left_shift(np.frombuffer(super().enhance(audio), "<i2"), 1).tobytes()


class OnceEnhancer(GoodEnhancer):
    """Its stream cannot go on after a flush."""

    flushed = False

    def enhance(self, audio: bytes) -> bytes:
        return b"" if self.flushed else super().enhance(audio)

    def flush(self) -> bytes:
        self.flushed = True
        return super().flush()


class NoResetEnhancer(GoodEnhancer):
    def reset(self) -> None:
        pass


class EagerEnhancer(GoodEnhancer):
    def flush(self) -> bytes:
        return super().flush() or b"\0\0"


class OtherAsyncEnhancer(AsyncEnhancer):
    async def async_enhance(self, audio: bytes) -> bytes:
        return bytes(len(self.enhance(audio)))


class SharedEnhancer(GoodEnhancer):
    def clone(self) -> SpeechEnhancer:
        return self


class SharedBufferEnhancer(GoodEnhancer):
    inline = False
    buffer: ClassVar[bytearray] = bytearray()

    def enhance(self, audio: bytes) -> bytes:
        self.buffer.extend(audio)
        time.sleep(0.001)
        done = bytes(self.buffer)
        self.buffer.clear()
        return done


class SlowEnhancer(GoodEnhancer):
    def enhance(self, audio: bytes) -> bytes:
        time.sleep(0.006)
        return super().enhance(audio)


class TableEncoder(GoodEncoder):
    def extract(self, audio: bytes) -> Any:
        return super().extract(audio).reshape(8, 8)


class RandomEncoder(GoodEncoder):
    def extract(self, audio: bytes) -> Any:
        import numpy as np

        return np.random.default_rng().standard_normal(64).astype(np.float32)


class DeafEncoder(GoodEncoder):
    """All voices are one to it."""

    def extract(self, audio: bytes) -> Any:
        import numpy as np

        return np.ones(64, np.float32)


class LoudnessEncoder(GoodEncoder):
    def extract(self, audio: bytes) -> Any:
        import numpy as np

        samples = pcm_to_float(audio)
        return np.array([float(np.std(samples)) * 10 if samples.size else 0.0, 1.0], np.float32)


class DistanceEncoder(GoodEncoder):
    def similarity(self, a: Any, b: Any) -> float:
        return float(abs(a - b).sum())


class FragileEncoder(GoodEncoder):
    """Not a number, of silence."""

    def extract(self, audio: bytes) -> Any:
        import numpy as np

        vector = super().extract(audio)
        return vector if any(audio) else np.full_like(vector, np.nan)


class OtherAsyncEncoder(GoodEncoder):
    async def async_extract(self, audio: bytes) -> Any:
        return -self.extract(audio)


class SharedBufferEncoder(GoodEncoder):
    def extract(self, audio: bytes) -> Any:
        self.audio = audio
        time.sleep(0.05)
        return super().extract(self.audio)


class BlockingEncoder(GoodEncoder):
    """Works on the event loop."""

    async def async_extract(self, audio: bytes) -> Any:
        time.sleep(1.2 if len(audio) > 200_000 else 0)  # noqa: ASYNC251
        return self.extract(audio)


class SpeechlessCaptioner(GoodCaptioner):
    def caption(self, audio: bytes) -> str:
        return ""


class RawCaptioner(GoodCaptioner):
    def caption(self, audio: bytes) -> str:
        return '{"choices": []}'


class OtherStreamCaptioner(GoodCaptioner):
    def caption_stream(self, audio: bytes) -> Iterable[str]:
        yield "Something else."


class SpeechOnlyCaptioner(GoodCaptioner):
    def caption(self, audio: bytes) -> str:
        return super().caption(audio) if any(audio) else ""


class DividingCaptioner(GoodCaptioner):
    def caption(self, audio: bytes) -> str:
        return f"{sum(audio) / len(audio):.0f}"


class OtherAsyncCaptioner(GoodCaptioner):
    async def async_caption(self, audio: bytes) -> str:
        return "Something else."


class SharedBufferCaptioner(GoodCaptioner):
    def caption(self, audio: bytes) -> str:
        self.audio = audio
        time.sleep(0.05)
        return super().caption(self.audio)


class BlockingCaptioner(GoodCaptioner):
    async def async_caption(self, audio: bytes) -> str:
        time.sleep(1.2 if len(audio) > 200_000 else 0)  # noqa: ASYNC251
        return self.caption(audio)


class Resampling(SpeechSpeedController):
    """As a tape that runs faster: the pitch changes too."""

    def process(self, audio: bytes, speed: float) -> bytes:
        import numpy as np

        speed = min(max(speed, 0.5), 1.5)
        samples = np.frombuffer(audio, "<i2")
        places = np.arange(0, max(0, samples.size - 1), speed)
        return np.interp(places, np.arange(samples.size), samples).astype("<i2").tobytes()


class Cutting(SpeechSpeedController):
    """Each piece by itself: repeats its end, or leaves it away."""

    def process(self, audio: bytes, speed: float) -> bytes:
        speed = min(max(speed, 0.5), 1.5)
        size = round(len(audio) / 2 / speed) * 2
        return (audio * 2)[:size]


class Fixed(Stretch):
    """Knows one speed only."""

    def limited(self, speed: float) -> float:
        return 1.0


class FirstSpeed(Stretch):
    """Keeps the speed that it began with."""

    first: float | None = None

    def limited(self, speed: float) -> float:
        self.first = self.first or super().limited(speed)
        return self.first


class Unlimited(Stretch):
    def limited(self, speed: float) -> float:
        return speed


class Forgetful(Stretch):
    """Loses what it holds back, all of it where it comes in one piece."""

    def process(self, audio: bytes, speed: float) -> bytes:
        return b"" if len(audio) > RATE_OUT else super().process(audio, speed)

    def flush(self) -> bytes:
        self.begin()
        return b""


class Quiet(Stretch):
    def given(self, pcm: bytes) -> bytes:
        import numpy as np

        return (np.frombuffer(super().given(pcm), "<i2") // 2).astype("<i2").tobytes()


class Repeating(Stretch):
    """Says its end again, whenever it is asked."""

    end = b""

    def flush(self) -> bytes:
        self.end = super().flush() or self.end
        return self.end


class Humming(Stretch):
    def given(self, pcm: bytes) -> bytes:
        return b"\0\4" * (len(super().given(pcm)) // 2)


class Fragile(Stretch):
    def process(self, audio: bytes, speed: float) -> bytes:
        if 0 < len(audio) < 100:
            raise ZeroDivisionError
        return super().process(audio, speed)


class SharedStretch(Stretch):
    def clone(self) -> SpeechSpeedController:
        return self


class SlowStretch(InlineStretch):
    def process(self, audio: bytes, speed: float) -> bytes:
        time.sleep(0.006)
        return super().process(audio, speed)


BROKEN: list[tuple[type[Suite[Any]], type, str]] = [
    (EnhancerSuite, HalfFrameEnhancer, "test_no_sample_is_lost_or_invented"),
    (EnhancerSuite, PaddingEnhancer, "test_no_sample_is_lost_or_invented"),
    (EnhancerSuite, SeamEnhancer, "test_the_size_of_the_pieces_changes_nothing"),
    (EnhancerSuite, LateEnhancer, "test_speech_comes_through_at_its_place"),
    (EnhancerSuite, HissingEnhancer, "test_speech_comes_through_at_its_place"),
    (EnhancerSuite, HissingEnhancer, "test_silence_stays_silent"),
    (EnhancerSuite, LoudEnhancer, "test_noise_is_not_made_louder"),
    (EnhancerSuite, OnceEnhancer, "test_a_flush_gives_the_rest_and_the_stream_goes_on"),
    (EnhancerSuite, EagerEnhancer, "test_a_flush_gives_the_rest_and_the_stream_goes_on"),
    (EnhancerSuite, NoResetEnhancer, "test_reset_forgets"),
    (EnhancerSuite, EagerEnhancer, "test_no_audio_is_no_audio"),
    (EnhancerSuite, OtherAsyncEnhancer, "test_async_is_the_same"),
    (EnhancerSuite, SharedEnhancer, "test_two_clones_do_not_hear_each_other"),
    (EnhancerSuite, SharedBufferEnhancer, "test_eight_clones_at_once_do_as_if_alone"),
    (EnhancerSuite, SlowEnhancer, "test_inline_means_under_five_milliseconds"),
    (SpeakerEncoderSuite, TableEncoder, "test_a_voice_is_a_vector"),
    (SpeakerEncoderSuite, RandomEncoder, "test_the_same_recording_is_the_same_vector"),
    (SpeakerEncoderSuite, DeafEncoder, "test_a_voice_is_nearer_to_itself_than_to_another"),
    (SpeakerEncoderSuite, LoudnessEncoder, "test_how_loud_it_is_matters_little"),
    (SpeakerEncoderSuite, DistanceEncoder, "test_similarity_is_symmetric_and_at_most_one"),
    (SpeakerEncoderSuite, FragileEncoder, "test_little_or_no_sound_does_no_harm"),
    (SpeakerEncoderSuite, OtherAsyncEncoder, "test_async_is_the_same"),
    (SpeakerEncoderSuite, SharedBufferEncoder, "test_eight_sessions_at_once_hear_as_if_alone"),
    (SpeakerEncoderSuite, BlockingEncoder, "test_it_is_given_up_at_once"),
    (CaptionerSuite, SpeechlessCaptioner, "test_it_describes_speech_in_words"),
    (CaptionerSuite, RawCaptioner, "test_it_describes_speech_in_words"),
    (CaptionerSuite, OtherStreamCaptioner, "test_a_stream_is_the_whole_caption"),
    (CaptionerSuite, SpeechOnlyCaptioner, "test_any_sound_can_be_described"),
    (CaptionerSuite, DividingCaptioner, "test_little_or_no_sound_does_no_harm"),
    (CaptionerSuite, OtherAsyncCaptioner, "test_async_is_the_same"),
    (CaptionerSuite, SharedBufferCaptioner, "test_eight_sessions_at_once_hear_as_if_alone"),
    (CaptionerSuite, BlockingCaptioner, "test_it_is_given_up_at_once"),
    (SpeedControllerSuite, Fixed, "test_the_duration_changes_by_the_speed"),
    (SpeedControllerSuite, Resampling, "test_the_pitch_stays"),
    (SpeedControllerSuite, Cutting, "test_a_tone_has_no_seams"),
    (SpeedControllerSuite, Forgetful, "test_the_size_of_the_pieces_changes_no_duration"),
    (SpeedControllerSuite, Quiet, "test_speech_stays_as_loud"),
    (SpeedControllerSuite, FirstSpeed, "test_the_speed_can_change_in_the_middle"),
    (SpeedControllerSuite, Unlimited, "test_a_speed_out_of_range_is_the_nearest"),
    (SpeedControllerSuite, Repeating, "test_a_flush_ends_the_stream"),
    (SpeedControllerSuite, Humming, "test_silence_stays_silent"),
    (SpeedControllerSuite, Fragile, "test_little_audio_does_no_harm"),
    (SpeedControllerSuite, SharedStretch, "test_two_clones_do_not_hear_each_other"),
    (SpeedControllerSuite, SharedStretch, "test_eight_clones_at_once_do_as_if_alone"),
    (SpeedControllerSuite, SlowStretch, "test_inline_means_under_five_milliseconds"),
]


@pytest.mark.parametrize(("base", "model", "check"), BROKEN)
def test_a_broken_model_fails(base: type[Suite[Any]], model: type, check: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception)):
        judge(base, model, check)


@pytest.mark.parametrize(
    "base", [EnhancerSuite, SpeakerEncoderSuite, CaptionerSuite, SpeedControllerSuite]
)
def test_every_check_has_a_model_that_fails_it(base: type[Suite[Any]]) -> None:
    assert {check for suite, _, check in BROKEN if suite is base} == set(checks(base))
