// Hold a conversation with a real server through the library: its sockets, its detector and its
// player are real and run in real time; microphone and loudspeaker are these.
//
//     node talk.ts WS_URL FIRST.wav SECOND.wav      the second interrupts the answer to the first
//
// Prints one JSON object: what was said, heard, sent and received.

import { readFileSync } from "node:fs";

import type { MicrophoneListener } from "../src/audio.ts";
import { systemClock } from "../src/clock.ts";
import { type Conversation, createConversation, type Environment } from "../src/conversation.ts";
import type { Output } from "../src/playback.ts";
import type { State } from "../src/state.ts";
import { EnergyDetector } from "../src/vad.ts";
import type { PlayerCommand, PlayerEvent } from "../src/worklets.ts";
import { Worklet } from "../tests/fakes.ts";

const FRAME = 512;
const FRAME_MS = 32;
const LIMIT_MS = 30_000;

/** A loudspeaker that runs in real time, from a timer. */
class Loudspeaker implements Output {
  readonly rate = 48_000;
  onevent: (event: PlayerEvent) => void = () => {};
  readonly played: Float32Array[] = [];
  readonly #player = new Worklet("xtalk-player", this.rate);
  readonly #start = performance.now();
  readonly #timer = setInterval(() => this.#render(), 5);

  constructor() {
    this.#player.onevent = (event) => this.onevent(event);
  }

  send(command: PlayerCommand): void {
    this.#player.post(command);
  }

  audibleAt(time: number): number {
    return this.#start + 1000 * time;
  }

  setVolume(): void {}

  async setDevice(): Promise<void> {}

  wake(): void {}

  close(): void {
    clearInterval(this.#timer);
  }

  #render(): void {
    const due = ((performance.now() - this.#start) * this.rate) / 1000;
    while (this.#player.frame + 128 <= due) this.played.push(this.#player.render());
  }
}

/** A microphone that hears silence, and what it is given to hear. */
class Microphone {
  listener: MicrophoneListener | null = null;
  #waiting: Float32Array = new Float32Array(0);
  #sent = 0;
  readonly #start = performance.now();
  readonly #timer = setInterval(() => this.#hear(), 8);

  say(path: string): void {
    const samples = new Int16Array(readFileSync(path).buffer.slice(44));
    this.#waiting = Float32Array.from(samples, (sample) => sample / 0x8000);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #hear(): void {
    for (; this.#sent * FRAME_MS < performance.now() - this.#start; this.#sent++) {
      const frame = new Float32Array(FRAME);
      frame.set(this.#waiting.subarray(0, FRAME));
      this.#waiting = this.#waiting.subarray(FRAME);
      this.listener?.samples(frame, 16_000);
    }
  }
}

const [url, first, second] = process.argv.slice(2) as [string, string, string];
const loudspeakers: Loudspeaker[] = [];
const microphone = new Microphone();
const sockets: WebSocket[] = [];
const received: Float32Array[] = [];
const sent: string[] = [];
const got: string[] = [];

const environment: Environment = {
  clock: systemClock,
  audio: {
    async openOutput() {
      loudspeakers.push(new Loudspeaker());
      return loudspeakers.at(-1) as Loudspeaker;
    },
    async openMicrophone(deviceId, listener) {
      microphone.listener = listener;
      return {
        deviceId,
        wake() {},
        close() {
          microphone.listener = null;
        },
      };
    },
    devices: async () => [],
  },
  connect(address) {
    const socket = new WebSocket(address);
    socket.addEventListener("message", ({ data }) => keep(data));
    const send = socket.send.bind(socket);
    socket.send = (data) => {
      if (typeof data === "string") sent.push(data);
      send(data);
    };
    sockets.push(socket);
    return socket;
  },
  post: (address, body) => fetch(address, { method: "POST", body }),
  loadDetector: async () => new EnergyDetector(),
  loadDenoiser: () => Promise.reject(new Error("there is none")),
  watch: () => () => {},
};

function keep(data: unknown): void {
  if (typeof data === "string") got.push(data);
  else received.push(Float32Array.from(new Int16Array(data as ArrayBuffer), (s) => s / 0x8000));
}

/** Resolves with the first state that is so; rejects after half a minute, with the last one. */
function until(conversation: Conversation, what: string, so: (state: State) => boolean) {
  return new Promise<State>((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new Error(`waited in vain until ${what}: ${JSON.stringify(conversation.state)}`));
    }, LIMIT_MS);
    const leave = conversation.subscribe((state) => {
      if (!so(state)) return;
      clearTimeout(late);
      queueMicrotask(() => leave());
      resolve(state);
    });
  });
}

const conversation = createConversation(url, { marks: true }, environment);
await until(conversation, "there is a session", (state) => state.currentSessionId !== null);
const session = conversation.state.currentSessionId;
await conversation.toggleStreaming();
await conversation.uploadFile(new File(["A note."], "note.txt", { type: "text/plain" }));
await until(conversation, "the upload is over", (state) => state.streamState === "idle");

microphone.say(first);
await until(conversation, "it speaks", ({ streamState, traces }) => {
  return streamState === "speaking" && traces.length > 0;
});
microphone.say(second);
await until(conversation, "it is ducked", (state) => state.playback === "ducked");
await until(conversation, "it is paused", (state) => state.playback === "paused");
await until(conversation, "it answers again", ({ messages, streamState }) => {
  // The upload's, the interrupted one, and this.
  return messages.filter(({ role }) => role === "assistant").length >= 3 && streamState === "idle";
});
const { messages, traces, decisions, roundTrip } = conversation.state;

sockets.at(-1)?.close();
await until(conversation, "the loss is seen", (state) => state.connection === "waiting");
await until(conversation, "there is another session", (state) => state.currentSessionId !== null);
const again = conversation.state;
await conversation.toggleStreaming();
conversation.close();
microphone.close();

const played = loudspeakers.flatMap((each) => each.played.flatMap((block) => [...block]));
console.log(
  JSON.stringify({
    sessions: [session, again.currentSessionId],
    streaming: again.streaming,
    messages,
    traces,
    decisions,
    roundTrip,
    sent: sent.map((text) => JSON.parse(text) as unknown),
    got: got.map((text) => JSON.parse(text) as unknown),
    received: received.map((chunk) => [...chunk]),
    played,
  }),
);
