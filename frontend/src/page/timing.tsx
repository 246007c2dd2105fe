// The latency waterfall: where the time of a turn went, and the figures of the session.

import { useState } from "preact/hooks";

import { quantiles, type LatencyTrace } from "../state.ts";
import { useConversation, useWords } from "./hooks.ts";
import { stageKey } from "./i18n.ts";
import { bars } from "./waterfall.ts";

export function Timing() {
  const words = useWords();
  const traces = useConversation((state) => state.traces);
  const [chosen, choose] = useState<LatencyTrace["at"] | null>(null);
  const trace = traces.find(({ at }) => at === chosen) ?? traces.at(-1);
  return (
    <section class="panel timing" aria-labelledby="timing">
      <h2 id="timing">{words("timing")}</h2>
      <p class="hint">{words(trace ? "timingLead" : "timingNone")}</p>
      {trace && (
        <>
          <Whole trace={trace} traces={traces} />
          <Waterfall trace={trace} traces={traces} />
          <Legend />
          <Turns traces={traces} shown={trace} choose={choose} />
        </>
      )}
      <RoundTrip />
    </section>
  );
}

interface Shown {
  readonly trace: LatencyTrace;
  readonly traces: readonly LatencyTrace[];
}

function Whole({ trace, traces }: Shown) {
  const words = useWords();
  const of = quantiles(traces, "total");
  return (
    <div class="whole">
      <p class="figure">
        <strong>{trace.total === null ? "–" : Math.round(trace.total)}</strong> ms
        <span class="hint">
          {words("timingTurn", { turn: trace.turnId })} ·{" "}
          {words(trace.source === "measured" ? "measuredHere" : "toldByServer")}
        </span>
      </p>
      <dl>
        <div>
          <dt>{words("p50")}</dt>
          <dd>{of ? Math.round(of.p50) : "–"}</dd>
        </div>
        <div>
          <dt>{words("p95")}</dt>
          <dd>{of ? Math.round(of.p95) : "–"}</dd>
        </div>
      </dl>
    </div>
  );
}

function Waterfall({ trace, traces }: Shown) {
  const words = useWords();
  return (
    <table class="waterfall">
      <caption class="unseen">{words("timingTurn", { turn: trace.turnId })}</caption>
      <thead>
        <tr>
          <th scope="col">{words("stage")}</th>
          <td />
          <th scope="col">ms</th>
          <th scope="col">{words("p50")}</th>
          <th scope="col">{words("p95")}</th>
        </tr>
      </thead>
      <tbody>
        {bars(trace).map(({ stage, ms, from, width }) => {
          const of = quantiles(traces, stage);
          return (
            <tr key={stage} data-stage={stage}>
              <th scope="row">{words(stageKey(stage))}</th>
              <td class="track" aria-hidden="true">
                <i
                  class={stage}
                  style={{ marginInlineStart: share(from), width: `max(2px, ${share(width)})` }}
                />
              </td>
              <td>{ms === null ? <Missing /> : Math.round(ms)}</td>
              <td>{of ? Math.round(of.p50) : ""}</td>
              <td>{of ? Math.round(of.p95) : ""}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

/** Three colours: it hears, it thinks, it speaks. */
function Legend() {
  const words = useWords();
  return (
    <ul class="legend">
      <li class="silence">{words("hears")}</li>
      <li class="firstToken">{words("thinks")}</li>
      <li class="firstAudio">{words("speaks")}</li>
    </ul>
  );
}

function Missing() {
  const words = useWords();
  return (
    <>
      <span aria-hidden="true">–</span>
      <span class="unseen">{words("notMeasured")}</span>
    </>
  );
}

const TURNS = 12;

interface TurnsProps {
  readonly traces: readonly LatencyTrace[];
  readonly shown: LatencyTrace;
  choose(at: number): void;
}

function Turns({ traces, shown, choose }: TurnsProps) {
  const words = useWords();
  const last = traces.slice(-TURNS);
  const most = Math.max(...last.map(({ total }) => total ?? 0), 1);
  return (
    <ol class="turns" aria-label={words("turns")}>
      {last.map((trace) => (
        <li key={trace.at}>
          <button
            type="button"
            aria-pressed={trace === shown}
            onClick={() => choose(trace.at)}
            aria-label={`${words("timingTurn", { turn: trace.turnId })}: ${words("ms", { n: Math.round(trace.total ?? 0) })}`}
          >
            <i style={{ height: share((trace.total ?? 0) / most) }} />
          </button>
        </li>
      ))}
    </ol>
  );
}

function RoundTrip() {
  const words = useWords();
  const n = useConversation((state) => (state.roundTrip === null ? null : Math.round(state.roundTrip)));
  return n === null ? null : <p class="hint">{words("roundTrip", { n })}</p>;
}

const share = (part: number) => `${(100 * part).toFixed(2)}%`;
