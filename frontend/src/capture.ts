// The microphone's samples as the frames that the wire and the detectors want.

import { Resampler } from "./resample.ts";
import { SAMPLE_RATE_IN } from "./wire.ts";

/** Samples of a frame: 32 ms at 16 kHz. */
export const FRAME_SAMPLES = 512;
export const FRAME_MS = (1000 * FRAME_SAMPLES) / SAMPLE_RATE_IN;

/** Cuts a stream of samples, of whatever rate and in whatever pieces, into frames at 16 kHz. */
export class Framer {
  #resampler: Resampler | null = null;
  #rate = 0;
  #frame = new Float32Array(FRAME_SAMPLES);
  #filled = 0;

  /** The frames that are full now; `rate` in Hz. */
  push(samples: Float32Array, rate: number): Float32Array[] {
    if (rate !== this.#rate) {
      this.#rate = rate;
      this.#resampler = new Resampler(rate, SAMPLE_RATE_IN);
    }
    const frames: Float32Array[] = [];
    let rest: Float32Array = this.#resampler?.push(samples) ?? samples;
    while (rest.length) {
      const part = rest.subarray(0, FRAME_SAMPLES - this.#filled);
      this.#frame.set(part, this.#filled);
      this.#filled += part.length;
      rest = rest.subarray(part.length);
      if (this.#filled === FRAME_SAMPLES) frames.push(this.#take());
    }
    return frames;
  }

  /** Another stream begins: nothing of the last one is left. */
  reset(): void {
    this.#resampler?.reset();
    this.#filled = 0;
  }

  #take(): Float32Array {
    const frame = this.#frame;
    this.#frame = new Float32Array(FRAME_SAMPLES);
    this.#filled = 0;
    return frame;
  }
}
