// Who speaks into the microphone, as far as the browser can tell; the server decides.

import { FRAME_MS } from "./capture.ts";
import { loudness } from "./pcm.ts";
import type { DetectorKind } from "./state.ts";

/**
 *     candidate    something that may be speech: playback ducks
 *     start        it is speech
 *     misfire      it was nothing: playback comes back
 *     end          200 ms of silence after a start
 */
export type DetectorEvent = "candidate" | "start" | "misfire" | "end";

export interface Detected {
  readonly events: readonly DetectorEvent[];
  /** Whether this frame itself sounds like speech. */
  readonly voiced: boolean;
}

/** Told of every frame of 32 ms at 16 kHz, in order, one at a time. */
export interface Detector {
  readonly kind: DetectorKind;
  /** `playing`: the loudspeaker is on, so an echo is likely and more evidence is needed. */
  accept(frame: Float32Array, playing: boolean): Promise<Detected>;
  /** The stream is interrupted: what has begun will bring no end. */
  reset(): void;
  close(): void;
}

export const END_SILENCE_MS = 200;

interface Evidence {
  /** dB above the noise */
  above: number;
  /** dB of full scale, at least */
  floor: number;
  candidateFrames: number;
  startFrames: number;
}

const IN_SILENCE: Evidence = { above: 9, floor: -55, candidateFrames: 1, startFrames: 4 };
const OVER_PLAYBACK: Evidence = { above: 14, floor: -42, candidateFrames: 2, startFrames: 8 };
const NOISE_FALL = 0.3; // of the way, a frame: down quickly,
const NOISE_RISE_DB = 0.06; // a frame: up by 2 dB a second, so that no word becomes the noise
const QUIET_DB = -70;

/**
 * Loudness over an adaptive floor of noise.
 *
 * Anything loud is speech to it, and soft consonants are not: good for ducking at once, too
 * coarse to end a turn.
 */
export class EnergyDetector implements Detector {
  readonly kind = "energy";
  #noise: number | null = null;
  #voiced = 0;
  #silent = 0;
  #open = false;
  #started = false;

  async accept(frame: Float32Array, playing: boolean): Promise<Detected> {
    const level = Math.max(QUIET_DB, 20 * Math.log10(loudness(frame)));
    const needed = playing ? OVER_PLAYBACK : IN_SILENCE;
    const voiced = level > Math.max(needed.floor, this.#adapt(level) + needed.above);
    return { events: this.#count(voiced, needed), voiced };
  }

  reset(): void {
    this.#voiced = this.#silent = 0;
    this.#open = this.#started = false;
  }

  close(): void {}

  /** The noise as it was before this frame. */
  #adapt(level: number): number {
    const noise = this.#noise ?? level;
    const down = noise + NOISE_FALL * (level - noise);
    this.#noise = level < noise ? down : Math.min(level, noise + NOISE_RISE_DB);
    return noise;
  }

  #count(voiced: boolean, needed: Evidence): DetectorEvent[] {
    this.#silent = voiced ? 0 : this.#silent + 1;
    if (voiced) this.#voiced += 1;
    else if (!this.#open) this.#voiced = 0;
    if (this.#silent * FRAME_MS >= END_SILENCE_MS && this.#open) return this.#finish();
    const events: DetectorEvent[] = [];
    if (!this.#open && this.#voiced >= needed.candidateFrames) events.push("candidate");
    this.#open ||= events.length > 0;
    if (this.#open && !this.#started && this.#voiced >= needed.startFrames) {
      this.#started = true;
      events.push("start");
    }
    return events;
  }

  #finish(): DetectorEvent[] {
    const event = this.#started ? "end" : "misfire";
    this.reset();
    return [event];
  }
}
