// Where the time of a turn went: what the server tells, and what only this side can see.

import { type LatencyTrace, serverStages } from "./state.ts";
import type { LatencyMetricsMessage } from "./wire.ts";

interface Turn {
  /** The clock's ms here: the last voiced frame, the end mark, the first audio, its sound. */
  speechEnded: number | null;
  marked: number | null;
  arrived: number | null;
  audible: number | null;
  report: LatencyMetricsMessage["data"] | null;
}

/**
 * Stamps by this side's own clock, so that nothing depends on the two clocks agreeing.
 *
 * Where the detector here is as good as the server's, the network's share is what this side
 * waited for the first audio less what the server says that it took: the way of the user's last
 * words to it, and of the audio back. Elsewhere it is the round trip of a ping, which is the same
 * way without the microphone's frames.
 */
export class Waterfall {
  #voiced: number | null = null;
  #marked: number | null = null;
  #roundTrip: number | null = null;
  #turns = new Map<number, Turn>();

  /** A frame of speech from the microphone, by a detector that can be believed. */
  voiced(at: number): void {
    this.#voiced = at;
    this.#marked = null;
  }

  /** The end mark is sent: so long did the detector here wait after the last voiced frame. */
  marked(at: number): void {
    this.#marked = at;
  }

  /** Of a ping, ms. */
  roundTrip(roundTrip: number): void {
    this.#roundTrip = roundTrip;
  }

  /** The turn's transcript is complete: what was voiced last was its end. */
  transcribed(turnId: number): void {
    this.#turns.clear(); // a turn that has been answered by another will bring no more
    const [speechEnded, marked] = [this.#voiced, this.#marked];
    this.#turns.set(turnId, { speechEnded, marked, arrived: null, audible: null, report: null });
    this.#voiced = this.#marked = null;
  }

  /** The first audio of the reply is here; later audio changes nothing. */
  arrived(turnId: number, at: number): void {
    const turn = this.#turns.get(turnId);
    if (turn) turn.arrived ??= at;
  }

  /** The first audio is heard. Null while the server has not reported, or for no answer. */
  audible(turnId: number, at: number, wall: number): LatencyTrace | null {
    const turn = this.#turns.get(turnId);
    if (!turn || turn.audible !== null) return null;
    turn.audible = at;
    return this.#trace(turnId, turn, wall);
  }

  /** The server's report; it comes again when the first audio was heard. */
  reported(report: LatencyMetricsMessage["data"], wall: number): LatencyTrace | null {
    const turnId = report.turn_id ?? [...this.#turns.keys()].at(-1);
    const turn = turnId === undefined ? undefined : this.#turns.get(turnId);
    if (turnId === undefined || !turn) return null;
    turn.report = report;
    return this.#trace(turnId, turn, wall);
  }

  /** Another session counts its turns anew. */
  reset(): void {
    this.#turns.clear();
    this.#voiced = this.#marked = null;
  }

  #trace(turnId: number, turn: Turn, at: number): LatencyTrace | null {
    const { speechEnded, marked, arrived, audible, report } = turn;
    if (!report) return null;
    const told = serverStages(report);
    // Where this side's mark ended the turn, the server's account begins with the mark.
    const waited = told.silence === null ? difference(marked, speechEnded) : null;
    const served = report.e2e_latency_ms + (waited ?? 0);
    const ways = (difference(arrived, speechEnded) ?? -1) - served;
    const network = ways >= 0 ? ways : this.#roundTrip;
    const playout = difference(audible, arrived);
    const total = playout === null ? null : served + (network ?? 0) + playout;
    const stages = { ...told, silence: told.silence ?? waited, network, playout };
    return { turnId, stages, total, source: ways >= 0 ? "measured" : "server", at };
  }
}

function difference(end: number | null, start: number | null): number | null {
  return end === null || start === null ? null : end - start;
}
