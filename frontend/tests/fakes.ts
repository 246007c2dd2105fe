// What stands in for the browser: time that tests move, sockets they answer, and a loudspeaker
// that runs the real player on the audio thread's terms, block by block.

import vm from "node:vm";

import { AudioFailure, type Audio, type MicrophoneListener } from "../src/audio.ts";
import type { Clock } from "../src/clock.ts";
import type { Environment, EnvironmentEvents } from "../src/conversation.ts";
import type { Output } from "../src/playback.ts";
import type { Device } from "../src/state.ts";
import type { Socket } from "../src/transport.ts";
import { EnergyDetector } from "../src/vad.ts";
import type { ServerMessage } from "../src/wire.ts";
import { type PlayerCommand, type PlayerEvent, workletSource } from "../src/worklets.ts";

/** Time stands still until it is moved; what is due is called in its order. */
export class FakeClock implements Clock {
  static readonly WALL = 1_000_000;
  #now = 0;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  wall(): number {
    return FakeClock.WALL + this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.#now + ms, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    const until = this.#now + ms;
    for (let timer = this.#due(until); timer; timer = this.#due(until)) {
      this.#timers = this.#timers.filter((each) => each !== timer);
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
    }
    this.#now = until;
  }

  #due(until: number): { at: number; callback: () => void } | undefined {
    const due = this.#timers.filter(({ at }) => at <= until);
    return due.sort((a, b) => a.at - b.at)[0];
  }
}

/** Let everything that waits for promises run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class FakeSocket implements Socket {
  binaryType: BinaryType = "blob";
  readyState: WebSocket["readyState"] = 0;
  bufferedAmount = 0;
  onopen: WebSocket["onopen"] = null;
  onmessage: WebSocket["onmessage"] = null;
  onclose: WebSocket["onclose"] = null;
  readonly sent: unknown[] = [];
  closed = false;

  send(data: unknown): void {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close(): void {
    this.closed = true;
    this.readyState = 3;
  }

  open(): void {
    this.readyState = 1;
    (this.onopen as (() => void) | null)?.();
  }

  receive(data: ServerMessage | ArrayBuffer | string): void {
    const plain = typeof data === "string" || data instanceof ArrayBuffer;
    const event = { data: plain ? data : JSON.stringify(data) };
    (this.onmessage as ((event: { data: unknown }) => void) | null)?.(event);
  }

  /** The server closes, or the network fails. */
  end(code = 1006, reason = ""): void {
    this.readyState = 3;
    (this.onclose as ((event: object) => void) | null)?.({ code, reason });
  }

  /** What was sent of this action. */
  of(action: string): Record<string, unknown>[] {
    const messages = this.sent.filter((each) => !(each instanceof ArrayBuffer));
    return (messages as Record<string, unknown>[]).filter((each) => each.action === action);
  }

  get frames(): ArrayBuffer[] {
    return this.sent.filter((each) => each instanceof ArrayBuffer);
  }
}

interface Processor {
  port: { onmessage: ((event: { data: unknown }) => void) | null };
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}

/** An AudioWorkletGlobalScope with one of the two processors in it. */
export class Worklet {
  readonly events: unknown[] = [];
  readonly rate: number;
  running = true;
  onevent: (event: never) => void = () => {};
  readonly #scope: { currentFrame: number };
  readonly #processor: Processor;

  constructor(name: "xtalk-player" | "xtalk-capture", rate: number) {
    this.rate = rate;
    const made: Record<string, new () => Processor> = {};
    const tell = (event: unknown) => {
      this.events.push(event);
      this.onevent(event as never);
    };
    const scope = {
      sampleRate: rate,
      currentFrame: 0,
      Float32Array, // of this realm, so that what comes out can be compared
      AudioWorkletProcessor: class {
        port = { onmessage: null, postMessage: tell };
      },
      registerProcessor: (each: string, processor: new () => Processor) => {
        made[each] = processor;
      },
    };
    vm.runInNewContext(workletSource(), scope);
    this.#scope = scope;
    this.#processor = new (made[name] as new () => Processor)();
  }

  get frame(): number {
    return this.#scope.currentFrame;
  }

  set frame(frame: number) {
    this.#scope.currentFrame = frame;
  }

  post(data: unknown): void {
    this.#processor.port.onmessage?.({ data });
  }

  /** One render quantum. */
  render(input?: Float32Array): Float32Array {
    const output = new Float32Array(128);
    this.running = this.#processor.process(input ? [[input]] : [[]], [[output]]);
    this.#scope.currentFrame += 128;
    return output;
  }
}

/** Renders what time has come, whenever the clock is moved through `play`. */
export class FakeOutput implements Output {
  static readonly LATENCY_MS = 20;
  onevent: (event: PlayerEvent) => void = () => {};
  readonly rate: number;
  readonly player: Worklet;
  readonly blocks: Float32Array[] = [];
  readonly commands: PlayerCommand[] = [];
  volume = 1;
  device = "";
  failure: AudioFailure | null = null;
  woken = 0;
  closed = false;
  readonly #clock: FakeClock;
  readonly #start: number;

  constructor(clock: FakeClock, rate = 48_000) {
    this.#clock = clock;
    this.#start = clock.now();
    this.rate = rate;
    this.player = new Worklet("xtalk-player", rate);
    this.player.onevent = (event) => this.onevent(event);
  }

  send(command: PlayerCommand): void {
    this.commands.push(command);
    this.player.post(command);
  }

  audibleAt(time: number): number {
    return this.#start + time * 1000 + FakeOutput.LATENCY_MS;
  }

  setVolume(volume: number): void {
    this.volume = volume;
  }

  async setDevice(id: string): Promise<void> {
    if (this.failure) throw this.failure;
    this.device = id;
  }

  wake(): void {
    this.woken += 1;
  }

  close(): void {
    this.closed = true;
  }

  /** Time passes, and the loudspeaker runs. */
  play(ms: number): void {
    const end = this.#clock.now() + ms;
    for (;;) {
      const next = this.#start + ((this.player.frame + 128) / this.rate) * 1000;
      if (next > end) break;
      this.#clock.advance(Math.max(0, next - this.#clock.now()));
      this.blocks.push(this.player.render());
    }
    this.#clock.advance(end - this.#clock.now());
  }

  get rendered(): Float32Array {
    const all = new Float32Array(128 * this.blocks.length);
    this.blocks.forEach((block, i) => all.set(block, 128 * i));
    return all;
  }
}

export class FakeAudio implements Audio {
  readonly outputs: FakeOutput[] = [];
  readonly microphones: { deviceId: string; listener: MicrophoneListener; closed: boolean }[] = [];
  known: Device[] = [];
  failure: AudioFailure | null = null;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async openOutput(): Promise<FakeOutput> {
    const output = new FakeOutput(this.#clock);
    this.outputs.push(output);
    return output;
  }

  async openMicrophone(deviceId: string, listener: MicrophoneListener) {
    if (this.failure) throw this.failure;
    const microphone = { deviceId, listener, closed: false };
    this.microphones.push(microphone);
    return {
      deviceId,
      wake() {},
      close() {
        microphone.closed = true;
      },
    };
  }

  async devices(): Promise<Device[]> {
    return this.known;
  }

  get output(): FakeOutput {
    return this.outputs.at(-1) as FakeOutput;
  }

  /** Frames of this loudness (RMS) at 16 kHz, 32 ms each, through the open microphone. */
  async speak(loudness: number, frames: number): Promise<void> {
    for (let i = 0; i < frames; i++) {
      const frame = Float32Array.from({ length: 512 }, (_, n) => (n % 2 ? loudness : -loudness));
      this.microphones.at(-1)?.listener.samples(frame, 16_000);
      await settle();
    }
  }
}

export class FakeEnvironment implements Environment {
  readonly clock = new FakeClock();
  readonly audio = new FakeAudio(this.clock);
  readonly sockets: FakeSocket[] = [];
  readonly urls: string[] = [];
  readonly posts: { url: string; form: FormData }[] = [];
  events: EnvironmentEvents | null = null;
  respond: () => Response | Promise<Response> = () => Response.json({ status: "ok" });
  loadDetector: Environment["loadDetector"] = async () => new EnergyDetector();
  loadDenoiser: Environment["loadDenoiser"] = async () => {
    throw new Error("no denoiser");
  };

  connect(url: string): Socket {
    this.urls.push(url);
    const socket = new FakeSocket();
    this.sockets.push(socket);
    return socket;
  }

  async post(url: string, form: FormData): Promise<Response> {
    this.posts.push({ url, form });
    return this.respond();
  }

  watch(events: EnvironmentEvents): () => void {
    this.events = events;
    return () => {
      this.events = null;
    };
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1) as FakeSocket;
  }
}

/** A tone of this many samples, loud enough to be told from silence everywhere. */
export function tone(samples: number, rate = 48_000, hertz = 440): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: samples },
    (_, i) => 0.5 * Math.cos((2 * Math.PI * hertz * i) / rate),
  );
}
