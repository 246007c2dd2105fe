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
 * The network's share is what this side waited for the first audio less what the server says
 * that it took: the way of the user's last words to it and of the audio back.
 */
export class Waterfall {
  #voiced: number | null = null;
  #turns = new Map<number, Turn>();

  /** A frame of speech from the microphone. */
  voiced(at: number): void {
    this.#voiced = at;
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

  /** The trace so far, or null while the server has not reported or the turn was no answer. */
  audible(turnId: number, at: number, wall: number): LatencyTrace | null {
    const turn = this.#turns.get(turnId);
    if (!turn || turn.audible !== null) return null;
    turn.audible = at;
    return trace(turnId, turn, wall);
  }

  reported(data: LatencyMetricsMessage["data"], wall: number): LatencyTrace | null {
    const turnId = data.turn_id ?? [...this.#turns.keys()].at(-1);
    const turn = turnId === undefined ? undefined : this.#turns.get(turnId);
    if (turnId === undefined) return null;
    const known = turn ?? { speechEnded: null, arrived: null, audible: null, report: null };
    known.report = data;
    return trace(turnId, known, wall);
  }

  /** Another session counts its turns anew. */
  reset(): void {
    this.#turns.clear();
    this.#voiced = null;
  }
}

function trace(turnId: number, turn: Turn, at: number): LatencyTrace | null {
  const { speechEnded, arrived, audible, report } = turn;
  if (!report) return null;
  const stages = serverStages(report);
  if (speechEnded === null || arrived === null || arrived - speechEnded < report.e2e_latency_ms) {
    // Not heard here, or heard to end later than the server did: its own account, then.
    const network = report.network_latency_ms;
    const total = report.playout_ms ?? null;
    return { turnId, stages: { ...stages, network }, total, source: "server", at };
  }
  const network = arrived - speechEnded - report.e2e_latency_ms;
  const playout = audible === null ? null : audible - arrived;
  const total = audible === null ? null : audible - speechEnded;
  return { turnId, stages: { ...stages, network, playout }, total, source: "measured", at };
}
