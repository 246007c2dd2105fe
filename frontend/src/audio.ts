// The browser's own audio, behind the two interfaces that the rest of the library knows.

import type { Clock } from "./clock.ts";
import type { Output } from "./playback.ts";
import type { Device, ProblemCode } from "./state.ts";
import { SAMPLE_RATE_OUT } from "./wire.ts";
import { type CaptureEvent, type PlayerEvent, workletSource } from "./worklets.ts";

/** An open microphone. */
export interface Microphone {
  readonly deviceId: string;
  wake(): void;
  close(): void;
}

export interface MicrophoneListener {
  /** Some 10 ms at a time; `rate` in Hz. */
  samples(samples: Float32Array, rate: number): void;
  /** The device is gone: unplugged, or taken away by the user. */
  ended(): void;
}

/** What a conversation needs of the machine it runs on. */
export interface Audio {
  openOutput(deviceId: string): Promise<Output>;
  openMicrophone(deviceId: string, listener: MicrophoneListener): Promise<Microphone>;
  devices(): Promise<Device[]>;
}

/** A failure that the user can be told of. */
export class AudioFailure extends Error {
  readonly code: ProblemCode;

  constructor(code: ProblemCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** `workletUrl` is a static copy of the worklets; without it they come from a `blob:` address. */
export function browserAudio(clock: Clock, workletUrl?: string): Audio {
  return {
    openOutput: (deviceId) => openOutput(clock, deviceId, workletUrl),
    openMicrophone: (deviceId, listener) => openMicrophone(deviceId, listener, workletUrl),
    devices,
  };
}

/** Worklets and microphones both want a secure context, so there is no half of a conversation. */
function secure(): void {
  if (globalThis.isSecureContext) return;
  throw new AudioFailure(
    "insecure",
    "The browser gives no microphone to a page that came over plain HTTP from another machine.",
  );
}

async function openOutput(clock: Clock, deviceId: string, workletUrl?: string): Promise<Output> {
  secure();
  const context = new AudioContext({ sampleRate: SAMPLE_RATE_OUT, latencyHint: "interactive" });
  try {
    await addWorklets(context, workletUrl);
    const player = new AudioWorkletNode(context, "xtalk-player", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    const volume = new GainNode(context);
    player.connect(volume).connect(context.destination);
    const output = new BrowserOutput(context, player, volume, clock);
    if (deviceId) await output.setDevice(deviceId).catch(() => {}); // gone since the last visit
    output.wake();
    return output;
  } catch (error) {
    void context.close();
    throw new AudioFailure("audio-failed", "The loudspeaker could not be opened.", error);
  }
}

class BrowserOutput implements Output {
  onevent: (event: PlayerEvent) => void = () => {};
  readonly #context: AudioContext;
  readonly #player: AudioWorkletNode;
  readonly #volume: GainNode;
  readonly #clock: Clock;

  constructor(context: AudioContext, player: AudioWorkletNode, volume: GainNode, clock: Clock) {
    this.#context = context;
    this.#player = player;
    this.#volume = volume;
    this.#clock = clock;
    player.port.onmessage = ({ data }: MessageEvent<PlayerEvent>) => this.onevent(data);
  }

  get rate(): number {
    return this.#context.sampleRate;
  }

  send(command: Parameters<Output["send"]>[0]): void {
    this.#player.port.postMessage(command);
  }

  audibleAt(time: number): number {
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp();
    if (contextTime && performanceTime) return performanceTime + (time - contextTime) * 1000;
    const latency = this.#context.outputLatency || this.#context.baseLatency || 0;
    return this.#clock.now() + (time - this.#context.currentTime + latency) * 1000;
  }

  setVolume(volume: number): void {
    this.#volume.gain.setTargetAtTime(volume, this.#context.currentTime, 0.01);
  }

  async setDevice(id: string): Promise<void> {
    const context = this.#context as AudioContext & { setSinkId?(id: string): Promise<void> };
    try {
      await context.setSinkId?.(id);
    } catch (error) {
      const message = "This loudspeaker cannot be used; the one before goes on.";
      throw new AudioFailure("loudspeaker-failed", message, error);
    }
  }

  wake(): void {
    // Where the browser wants a gesture first, this stays pending until there is one.
    if (this.#context.state !== "closed") void this.#context.resume().catch(() => {});
  }

  close(): void {
    this.send({ type: "end" });
    this.#player.port.onmessage = null;
    this.#player.disconnect();
    void this.#context.close();
  }
}

async function openMicrophone(
  deviceId: string,
  listener: MicrophoneListener,
  workletUrl?: string,
): Promise<Microphone> {
  secure();
  const stream = await userMedia(deviceId);
  // At the rate of the device's choice: Firefox connects no stream to a context of another.
  const context = new AudioContext({ latencyHint: "interactive" });
  const track = stream.getAudioTracks()[0];
  const close = () => {
    for (const each of stream.getTracks()) each.stop();
    void context.close();
  };
  try {
    await addWorklets(context, workletUrl);
    const source = new MediaStreamAudioSourceNode(context, { mediaStream: stream });
    const capture = new AudioWorkletNode(context, "xtalk-capture", {
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: "explicit",
    });
    capture.port.onmessage = ({ data }: MessageEvent<CaptureEvent>) =>
      listener.samples(data, context.sampleRate);
    source.connect(capture);
    if (track) track.onended = () => listener.ended();
    const wake = () => {
      if (context.state !== "closed") void context.resume().catch(() => {});
    };
    wake();
    return {
      deviceId: track?.getSettings().deviceId ?? "",
      wake,
      close() {
        if (track) track.onended = null;
        capture.port.onmessage = null;
        capture.port.postMessage("end");
        source.disconnect();
        close();
      },
    };
  } catch (error) {
    close();
    throw new AudioFailure("microphone-failed", "The microphone could not be opened.", error);
  }
}

async function userMedia(deviceId: string): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: {
        channelCount: 1,
        echoCancellation: true,
        autoGainControl: true,
        noiseSuppression: false, // it would take the ends of words from the recogniser
        ...(deviceId && { deviceId: { ideal: deviceId } }),
      },
    });
  } catch (error) {
    throw refused(error);
  }
}

function refused(error: unknown): AudioFailure {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") {
    const message = "The browser was not allowed to use the microphone.";
    return new AudioFailure("microphone-denied", message, error);
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return new AudioFailure("microphone-missing", "There is no microphone.", error);
  }
  return new AudioFailure("microphone-failed", "The microphone could not be opened.", error);
}

async function addWorklets(context: AudioContext, workletUrl?: string): Promise<void> {
  if (workletUrl) return context.audioWorklet.addModule(workletUrl);
  const url = URL.createObjectURL(new Blob([workletSource()], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function devices(): Promise<Device[]> {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all
    .filter(({ kind, deviceId }) => kind !== "videoinput" && deviceId !== "")
    .map(({ deviceId: id, label, kind }) => ({
      id,
      label,
      kind: kind === "audioinput" ? "input" : "output",
    }));
}
