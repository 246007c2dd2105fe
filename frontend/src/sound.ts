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
  /** In use, as they were asked for. */
  inputDevice = "";
  outputDevice: string;
  #microphone: Microphone | null = null;
  #inputs = 0; // tried
  #outputs = 0;
  #closed = false;

  private constructor(
    audio: Audio,
    playback: Playback,
    outputDevice: string,
    ear: Ear,
    listener: SoundListener,
  ) {
    this.#audio = audio;
    this.outputDevice = outputDevice;
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
      const sound = new Sound(audio, playback, settings.outputDevice, ear, listener);
      await sound.listen(settings.inputDevice);
      return sound;
    } catch (error) {
      playback.close();
      throw error;
    }
  }

  /**
   * Listen to this microphone from now on; false when that was given up for another meanwhile.
   *
   * AudioFailure when it cannot be opened: then it listens to the old one still.
   */
  async listen(deviceId: string): Promise<boolean> {
    const attempt = ++this.#inputs;
    const givenUp = () => this.#closed || attempt !== this.#inputs;
    const opening = this.#audio.openMicrophone(deviceId, {
      samples: (samples, rate) => {
        if (this.#microphone === microphone) this.ear.push(samples, rate);
      },
      ended: () => void this.#replace(),
    });
    const microphone: Microphone | null = await unless(givenUp, opening);
    if (microphone === null || givenUp()) {
      microphone?.close();
      return false;
    }
    this.#microphone?.close();
    this.#microphone = microphone;
    this.inputDevice = deviceId;
    this.ear.reset();
    return true;
  }

  /** Be heard from this loudspeaker from now on; otherwise like `listen`. */
  async playOn(deviceId: string): Promise<boolean> {
    const attempt = ++this.#outputs;
    const givenUp = () => this.#closed || attempt !== this.#outputs;
    const routing = this.playback.setDevice(deviceId).then(() => {
      this.outputDevice = deviceId;
      return true;
    });
    const routed = await unless(givenUp, routing);
    return routed !== null && !givenUp();
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
      this.#listener.silenced(error);
    }
  }
}

/** What comes of it; null when it fails and nobody waits for it any more. */
async function unless<T>(givenUp: () => boolean, attempt: Promise<T>): Promise<T | null> {
  try {
    return await attempt;
  } catch (error) {
    if (givenUp()) return null;
    throw error;
  }
}
