// The microphone's way: frames out at once and raw, and beside that the detector's opinion.

import { Framer } from "./capture.ts";
import type { Clock } from "./clock.ts";
import type { Denoiser } from "./denoise.ts";
import { loudness } from "./pcm.ts";
import { type Detected, type Detector, type DetectorEvent, EnergyDetector } from "./vad.ts";

/** null is done without; nothing here closes them. */
export interface Models {
  readonly detector: Detector | null;
  readonly denoiser: Denoiser | null;
}

export interface EarListener {
  /** 512 samples at 16 kHz, as the microphone gave them. */
  frame(frame: Float32Array): void;
  /** RMS, 0 to 1, some ten times a second. */
  level(level: number): void;
  detected(event: DetectorEvent): void;
  /** A frame of speech ended at this time (the clock's ms). */
  voiced(at: number): void;
  /** From here on without the denoiser, or with the energy detector. */
  failed(what: "denoiser" | "detector", error: unknown): void;
}

const LEVEL_FRAMES = 3;
const WAITING_FRAMES = 30; // a detector that is a second late is told of no more until it is not

export class Ear {
  readonly #clock: Clock;
  readonly #playing: () => boolean;
  readonly #listener: EarListener;
  readonly #framer = new Framer();
  #detector: Detector | null = null;
  #denoiser: Denoiser | null = null;
  #next: Models | null; // to be used when nobody is speaking
  #open = false; // something has begun, and its end will be told
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  #stream = 0;
  #muted = false;
  #levels: number[] = [];

  /** `playing`: whether the loudspeaker is on. */
  constructor(models: Models, clock: Clock, playing: () => boolean, listener: EarListener) {
    this.#next = models;
    this.#clock = clock;
    this.#playing = playing;
    this.#listener = listener;
  }

  /** Samples of the microphone; `rate` in Hz. */
  push(samples: Float32Array, rate: number): void {
    for (const frame of this.#framer.push(samples, rate)) if (!this.#muted) this.#hear(frame);
  }

  /** Other models from now on, or from the end of what is being said. */
  use(models: Models): void {
    this.#next = models;
  }

  mute(muted: boolean): void {
    this.#muted = muted;
    this.reset();
    this.#listener.level(0);
  }

  /** The stream is interrupted, by a mute or another device. */
  reset(): void {
    this.#stream += 1;
    this.#framer.reset();
    this.#levels = [];
    this.#then(async () => this.#begin());
  }

  /** Resolves when the detector has said all about the frames so far. */
  settled(): Promise<void> {
    return this.#work;
  }

  #hear(frame: Float32Array): void {
    this.#listener.frame(frame);
    this.#measure(frame);
    if (this.#waiting >= WAITING_FRAMES) return;
    const stream = this.#stream;
    const at = this.#clock.now();
    this.#waiting += 1;
    this.#then(async () => {
      this.#waiting -= 1;
      if (stream === this.#stream) await this.#detect(frame, at, stream);
    });
  }

  #then(work: () => Promise<void>): void {
    this.#work = this.#work.then(work);
  }

  #measure(frame: Float32Array): void {
    this.#levels.push(loudness(frame));
    if (this.#levels.length < LEVEL_FRAMES) return;
    this.#listener.level(Math.max(...this.#levels));
    this.#levels = [];
  }

  #begin(): void {
    this.#open = false;
    this.#detector?.reset();
    this.#denoiser?.reset();
  }

  #change(): void {
    if (!this.#next || this.#open) return;
    ({ detector: this.#detector, denoiser: this.#denoiser } = this.#next);
    this.#next = null;
    this.#begin();
  }

  async #detect(frame: Float32Array, at: number, stream: number): Promise<void> {
    this.#change();
    if (!this.#detector) return;
    const clean = await this.#clean(frame);
    const { events, voiced } = await this.#judge(clean, this.#detector);
    if (stream !== this.#stream) return;
    if (voiced) this.#listener.voiced(at);
    for (const event of events) {
      this.#open = event === "candidate" || event === "start";
      this.#listener.detected(event);
    }
  }

  /** A model can fail in any way; a conversation without it is better than none. */
  async #clean(frame: Float32Array): Promise<Float32Array> {
    try {
      return (await this.#denoiser?.denoise(frame)) ?? frame;
    } catch (error) {
      this.#denoiser = null;
      this.#listener.failed("denoiser", error);
      return frame;
    }
  }

  async #judge(frame: Float32Array, detector: Detector): Promise<Detected> {
    try {
      return await detector.accept(frame, this.#playing());
    } catch (error) {
      this.#detector = new EnergyDetector();
      this.#listener.failed("detector", error);
      return { events: ["misfire"], voiced: false }; // for a segment that has lost its end
    }
  }
}
