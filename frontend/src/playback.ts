// The server's speech: played without a gap, paused at the sample, acknowledged when heard.

import type { Clock } from "./clock.ts";
import { Resampler } from "./resample.ts";
import type { PlaybackState } from "./state.ts";
import type { PlayerCommand, PlayerEvent } from "./worklets.ts";

/** A loudspeaker with a player in front of it; in a browser `openOutput` of audio.ts. */
export interface Output {
  /** Hz */
  readonly rate: number;
  send(command: PlayerCommand): void;
  /** Where the player's events go. */
  onevent: (event: PlayerEvent) => void;
  /** When a sample of this context time (s) leaves the loudspeaker, in the clock's ms. */
  audibleAt(time: number): number;
  setVolume(volume: number): void;
  /** AudioFailure when it cannot be used; then the one before goes on. */
  setDevice(id: string): Promise<void>;
  /** Run again after the browser has suspended it. */
  wake(): void;
  close(): void;
}

/** All times are the clock's ms at which the user hears it. */
export interface PlaybackListener {
  changed(state: PlaybackState): void;
  began(index: number, at: number): void;
  played(index: number, at: number): void;
  /** The reply was said to be complete, and all of it has been heard. */
  finished(at: number): void;
  samples(samples: Float32Array, rate: number): void;
}

const DUCKED = 0.2;
const DUCK_SECONDS = 0.02;
const UNDUCK_SECONDS = 0.1;
/** What to do when something that was rendered is heard. */
interface Coming {
  then(): void;
  cancel(): void;
}

const NO_CHUNK = -1; // the index of what a resampler had held back

export class Playback {
  readonly #output: Output;
  readonly #clock: Clock;
  readonly #listener: PlaybackListener;
  readonly #coming: Coming[] = []; // rendered, not yet audible, in order
  readonly #samples = new Map<number, Float32Array>();
  #resampler: Resampler | null = null;
  #reply = 0;
  #unplayed = 0; // chunks of this reply that the player still has
  #ended = false;
  #lastPlayed: number | null = null; // the context time behind its last sample
  #paused = false;
  #ducked = false;
  #state: PlaybackState = "idle";

  constructor(output: Output, clock: Clock, listener: PlaybackListener) {
    this.#output = output;
    this.#clock = clock;
    this.#listener = listener;
    output.onevent = (event) => this.#on(event);
  }

  /** Another reply: what the last one was told does not count for it. */
  begin(): void {
    this.#reply += 1;
    this.#unplayed = 0;
    this.#ended = false;
    this.#lastPlayed = null;
    this.#resampler = null;
  }

  /** Queue a chunk; `rate` in Hz, the same throughout a reply. */
  play(index: number, samples: Float32Array<ArrayBuffer>, rate: number): void {
    if (rate !== this.#output.rate) {
      this.#resampler ??= new Resampler(rate, this.#output.rate);
      samples = this.#resampler.push(samples);
    }
    this.#queue(index, samples);
  }

  /** No more of this reply is to come. */
  end(): void {
    const rest = this.#resampler?.flush();
    if (rest?.length) this.#queue(NO_CHUNK, rest);
    this.#ended = true;
    this.#finish();
  }

  /** Drop what has not been played. What was on its way to the ear is still acknowledged. */
  stop(): void {
    this.begin();
    this.#paused = this.#ducked = false;
    this.#samples.clear();
    this.#output.send({ type: "stop" });
    this.#show();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#output.send({ type: "pause" });
    this.#show();
  }

  resume(): void {
    if (this.#paused) this.#output.send({ type: "resume" });
    this.#paused = false;
    this.unduck();
    this.#show();
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Whether the loudspeaker is, or will be after a pause, heard. */
  get active(): boolean {
    return this.#unplayed > 0;
  }

  duck(): void {
    if (this.#ducked) return;
    this.#ducked = true;
    this.#output.send({ type: "gain", value: DUCKED, seconds: DUCK_SECONDS });
    this.#show();
  }

  unduck(): void {
    if (!this.#ducked) return;
    this.#ducked = false;
    this.#output.send({ type: "gain", value: 1, seconds: UNDUCK_SECONDS });
    this.#show();
  }

  /** Stop, and tell of nothing any more, not even of what is on its way to the ear. */
  abandon(): void {
    for (const { cancel } of this.#coming.splice(0)) cancel();
    this.stop();
  }

  setVolume(volume: number): void {
    this.#output.setVolume(volume);
  }

  setDevice(id: string): Promise<void> {
    return this.#output.setDevice(id);
  }

  wake(): void {
    this.#output.wake();
  }

  close(): void {
    this.abandon();
    this.#output.onevent = () => {};
    this.#output.close();
  }

  #queue(index: number, samples: Float32Array<ArrayBuffer>): void {
    this.#unplayed += 1;
    this.#samples.set(index, samples);
    this.#output.send({ type: "play", samples, index, reply: this.#reply });
  }

  #on(event: PlayerEvent): void {
    if (event.type === "began") this.#began(event.index, event.reply, event.time);
    else if (event.type === "played") this.#played(event.index, event.reply, event.time);
  }

  #began(index: number, reply: number, time: number): void {
    const samples = this.#samples.get(index);
    this.#samples.delete(index);
    if (reply !== this.#reply || index === NO_CHUNK) return;
    this.#whenHeard(time, (at) => {
      if (reply !== this.#reply) return;
      this.#show();
      this.#listener.began(index, at);
      if (samples) this.#listener.samples(samples, this.#output.rate);
    });
  }

  #played(index: number, reply: number, time: number): void {
    if (index !== NO_CHUNK) this.#whenHeard(time, (at) => this.#listener.played(index, at));
    if (reply !== this.#reply) return;
    this.#unplayed -= 1;
    this.#lastPlayed = time;
    this.#finish();
  }

  #finish(): void {
    const reply = this.#reply;
    if (!this.#ended || this.#unplayed > 0) return;
    this.#whenHeard(this.#lastPlayed, (at) => {
      if (reply !== this.#reply) return;
      this.begin();
      this.#show();
      this.#listener.finished(at);
    });
  }

  /** Call back when what was rendered at this context time reaches the ear; null is now. */
  #whenHeard(time: number | null, then: (at: number) => void): void {
    const at = time === null ? this.#clock.now() : this.#output.audibleAt(time);
    const wait = Math.max(0, at - this.#clock.now());
    const coming = {
      then: () => then(Math.min(at, this.#clock.now())), // it may be heard earlier, see #hear
      cancel: this.#clock.after(wait, () => this.#hear(coming)),
    };
    this.#coming.push(coming);
  }

  /** The browser's account of its latency wavers: what was rendered earlier is heard earlier. */
  #hear(coming: Coming): void {
    while (this.#coming.includes(coming)) {
      const first = this.#coming.shift() as Coming;
      first.cancel();
      first.then();
    }
  }

  #show(): void {
    const audible = this.#unplayed > 0 || (this.#lastPlayed !== null && !this.#paused);
    const sounding = this.#ducked ? "ducked" : "playing";
    const state = this.#paused ? "paused" : audible ? sounding : "idle";
    if (state === this.#state) return;
    this.#state = state;
    this.#listener.changed(state);
  }
}
