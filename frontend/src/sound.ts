// The loudspeaker and the microphone of a running conversation, opened and closed together.

import { type Audio, AudioFailure, type Microphone } from "./audio.ts";
import type { Clock } from "./clock.ts";
import { Ear, type EarListener, type Models } from "./ear.ts";
import { Playback, type PlaybackListener } from "./playback.ts";
import type { Settings } from "./state.ts";

export interface SoundListener extends EarListener {
  /** The microphone is gone, and no other took its place. */
  silenced(failure: AudioFailure): void;
}

/** `open`, then until `close` everything the microphone hears goes to the ear. */
export class Sound {
  readonly playback: Playback;
  readonly ear: Ear;
  readonly #audio: Audio;
  readonly #listener: SoundListener;
  #microphone: Microphone | null = null;
  #attempt = 0;
  #closed = false;

  private constructor(audio: Audio, playback: Playback, ear: Ear, listener: SoundListener) {
    this.#audio = audio;
    this.playback = playback;
    this.ear = ear;
    this.#listener = listener;
  }

  /** AudioFailure when there is no loudspeaker or no microphone; then nothing is left open. */
  static async open(
    audio: Audio,
    clock: Clock,
    models: Models,
    settings: Settings,
    listener: SoundListener,
    heard: PlaybackListener,
  ): Promise<Sound> {
    const output = await audio.openOutput(settings.outputDevice);
    output.setVolume(settings.volume);
    const playback = new Playback(output, clock, heard);
    try {
      const ear = new Ear(models, clock, () => playback.active, listener);
      const sound = new Sound(audio, playback, ear, listener);
      await sound.listen(settings.inputDevice);
      return sound;
    } catch (error) {
      playback.close();
      throw error;
    }
  }

  /** Listen to this microphone from now on; if it cannot be opened, to the old one still. */
  async listen(deviceId: string): Promise<void> {
    const attempt = ++this.#attempt;
    const microphone = await this.#audio.openMicrophone(deviceId, {
      samples: (samples, rate) => {
        if (this.#microphone === microphone) this.ear.push(samples, rate);
      },
      ended: () => void this.#replace(),
    });
    if (this.#closed || attempt !== this.#attempt) return microphone.close();
    this.#microphone?.close();
    this.#microphone = microphone;
    this.ear.reset();
  }

  wake(): void {
    this.playback.wake();
    this.#microphone?.wake();
  }

  close(): void {
    this.#closed = true;
    this.#microphone?.close();
    this.#microphone = null;
    this.ear.reset();
    this.playback.close();
  }

  async #replace(): Promise<void> {
    try {
      await this.listen("");
    } catch (error) {
      if (!(error instanceof AudioFailure)) throw error;
      if (!this.#closed) this.#listener.silenced(error);
    }
  }
}
