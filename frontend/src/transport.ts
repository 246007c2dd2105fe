// The connection: opened again when lost, kept alive, and its clock compared with the server's.

import type { Clock } from "./clock.ts";
import type { ConnectionState } from "./state.ts";
import type { ClientMessage, PongMessage, ServerMessage } from "./wire.ts";

/** What is used of a WebSocket. */
export type Socket = Pick<
  WebSocket,
  | "binaryType"
  | "readyState"
  | "bufferedAmount"
  | "onopen"
  | "onmessage"
  | "onclose"
  | "send"
  | "close"
>;

export interface TransportListener {
  message(message: ServerMessage): void;
  audio(piece: ArrayBuffer): void;
  /** `closed` with the server's reason when it was the server that wants no more of it. */
  connection(state: ConnectionState, retryAt: number | null, reason?: string): void;
  /** Offset of the server's clock (theirs less ours) and round trip, ms. */
  clock(offset: number, roundTrip: number): void;
}

const PING_MS = [0, 1000, 2000, 15_000]; // the last again and again
const PONG_MS = 10_000;
const MISSES = 2;
const OPEN_MS = 15_000;
const BACK_OFF_MS = [250, 500, 1000, 2000, 4000, 8000, 15_000];
const OFFSETS = 5;
const BACKLOG_BYTES = 256_000; // 8 s of speech: a network that slow carries no conversation

const OPEN = 1; // WebSocket.OPEN
const NORMAL = 1000; // close codes of RFC 6455
const POLICY = 1008;

/** Connects when told to, and stays connected until `close`. */
export class Transport {
  readonly #connect: () => Socket;
  readonly #clock: Clock;
  readonly #listener: TransportListener;
  readonly #jitter: () => number;
  #socket: Socket | null = null;
  #state: ConnectionState = "closed";
  #attempt = 0;
  #settled = false;
  #pings = 0;
  #misses = 0;
  #offsets: number[] = [];
  #cancelPing = () => {};
  #cancelWait = () => {}; // for the opening, a pong, or the next attempt: one at a time

  /** `connect` makes a new socket; `jitter` gives 0 to 1. */
  constructor(
    connect: () => Socket,
    clock: Clock,
    listener: TransportListener,
    jitter: () => number = Math.random,
  ) {
    this.#connect = connect;
    this.#clock = clock;
    this.#listener = listener;
    this.#jitter = jitter;
  }

  /** Connect now: also from an old connection to a new one, or instead of waiting. */
  open(): void {
    this.#drop();
    this.#settled = false;
    this.#show("connecting");
    const socket = this.#connect();
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#opened();
    socket.onmessage = ({ data }) => this.#received(data);
    socket.onclose = (event) => this.#ended(event);
    this.#cancelWait = this.#clock.after(OPEN_MS, () => this.#lost());
  }

  /** Not to wait any longer: the network is said to be back. */
  hurry(): void {
    if (this.#state === "waiting") this.open();
  }

  /** The server has accepted this client: the next loss is the first again. */
  settled(): void {
    this.#settled = true;
    this.#attempt = 0;
  }

  close(): void {
    this.#drop();
    this.#show("closed");
  }

  /** Whether it went out; what cannot be sent now is of no use later. */
  send(message: ClientMessage): boolean {
    if (this.#socket?.readyState !== OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Whether it went out, which it does not over a network that has fallen seconds behind. */
  sendAudio(frame: ArrayBuffer): boolean {
    const socket = this.#socket;
    if (socket?.readyState !== OPEN || socket.bufferedAmount > BACKLOG_BYTES) return false;
    socket.send(frame);
    return true;
  }

  #opened(): void {
    this.#cancelWait();
    this.#pings = 0;
    this.#misses = 0;
    this.#offsets = [];
    this.#show("open");
    this.#pingLater();
  }

  #received(data: unknown): void {
    this.#misses = 0;
    if (data instanceof ArrayBuffer) return this.#listener.audio(data);
    const message = parse(data);
    if (message?.action === "pong") this.#pong(message);
    else if (message) this.#listener.message(message);
  }

  #ended({ code, reason }: Pick<CloseEvent, "code" | "reason">): void {
    const refused = code === POLICY && !this.#settled;
    if (code !== NORMAL && !refused) return this.#lost();
    this.#drop();
    this.#show("closed", null, reason);
  }

  #lost(): void {
    this.#drop();
    const base = BACK_OFF_MS[Math.min(this.#attempt, BACK_OFF_MS.length - 1)] as number;
    const wait = base * (0.75 + this.#jitter() / 2);
    this.#attempt += 1;
    this.#cancelWait = this.#clock.after(wait, () => this.open());
    this.#show("waiting", this.#clock.wall() + wait);
  }

  /** Let go of the socket and of all timers. */
  #drop(): void {
    this.#cancelPing();
    this.#cancelWait();
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #show(state: ConnectionState, retryAt: number | null = null, reason?: string): void {
    this.#state = state;
    this.#listener.connection(state, retryAt, reason);
  }

  #pingLater(): void {
    const wait = PING_MS[Math.min(this.#pings, PING_MS.length - 1)] as number;
    this.#cancelPing = this.#clock.after(wait, () => this.#ping());
  }

  #ping(): void {
    this.#pings += 1;
    this.send({ action: "ping", timestamp: this.#clock.wall() });
    this.#cancelWait();
    this.#cancelWait = this.#clock.after(PONG_MS, () => this.#missed());
    this.#pingLater();
  }

  #missed(): void {
    this.#misses += 1;
    if (this.#misses >= MISSES) this.#lost();
  }

  #pong({ client_timestamp: sent, server_recv_timestamp: received }: PongMessage): void {
    this.#cancelWait();
    const now = this.#clock.wall();
    this.#offsets = [...this.#offsets.slice(1 - OFFSETS), received - (sent + now) / 2];
    this.#listener.clock(median(this.#offsets), now - sent);
    this.send({
      action: "clock_sync",
      client_send_ts: sent / 1000,
      server_recv_ts: received / 1000,
      client_recv_ts: now / 1000,
    });
  }
}

/** The message, or null for what no server of this protocol sends. */
export function parse(data: unknown): ServerMessage | null {
  if (typeof data !== "string") return null;
  try {
    const value: unknown = JSON.parse(data);
    const known = typeof value === "object" && value !== null && "action" in value;
    return known ? (value as ServerMessage) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] as number;
}
