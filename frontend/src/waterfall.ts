// Where the time of a turn went: what the server tells, and what only this side can see.

import { type LatencyTrace, serverStages } from "./state.ts";
import type { LatencyMetricsMessage } from "./wire.ts";

interface Turn {
  /** The clock's ms here: the user's last voiced frame, the first audio's coming, its sound. */
  speechEnded: number | null;
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
  #roundTrip: number | null = null;
  #turns = new Map<number, Turn>();

  /** A frame of speech from the microphone, by a detector that can be believed. */
  voiced(at: number): void {
    this.#voiced = at;
  }

  /** Of a ping, ms. */
  roundTrip(roundTrip: number): void {
    this.#roundTrip = roundTrip;
  }

  /** The turn's transcript is complete: what was voiced last was its end. */
  transcribed(turnId: number): void {
    this.#turns.clear(); // a turn that has been answered by another will bring no more
    const speechEnded = this.#voiced;
    this.#turns.set(turnId, { speechEnded, arrived: null, audible: null, report: null });
    this.#voiced = null;
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
    this.#voiced = null;
  }

  #trace(turnId: number, turn: Turn, at: number): LatencyTrace | null {
    const { speechEnded, arrived, audible, report } = turn;
    if (!report) return null;
    const waited = speechEnded === null || arrived === null ? null : arrived - speechEnded;
    const ways = waited === null ? -1 : waited - report.e2e_latency_ms;
    const measured = ways >= 0;
    const network = measured ? ways : this.#roundTrip;
    const playout = audible === null || arrived === null ? null : audible - arrived;
    const total = playout === null ? null : report.e2e_latency_ms + (network ?? 0) + playout;
    const stages = { ...serverStages(report), network, playout };
    return { turnId, stages, total, source: measured ? "measured" : "server", at };
  }
}
