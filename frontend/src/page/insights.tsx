// Why the server did what it did, and what it noticed beside the words.

import type { Decision, LogEntry, State } from "../state.ts";
import { useConversation, useWords } from "./hooks.ts";
import type { Key } from "./i18n.ts";
import { inOneLine } from "./messages.tsx";

const SHOWN = 20;

export function Decisions() {
  const words = useWords();
  const decisions = useConversation((state) => state.decisions);
  return (
    <section class="panel" aria-labelledby="why">
      <h2 id="why">{words("why")}</h2>
      {decisions.length === 0 && <p class="hint">{words("whyNone")}</p>}
      <ol class="log decisions">
        {decisions
          .slice(-SHOWN)
          .reverse()
          .map((decision) => (
            <Why key={`${decision.at} ${decision.rule} ${decision.outcome}`} decision={decision} />
          ))}
      </ol>
    </section>
  );
}

/** The server's outcomes; one that is not known here is shown in its own words. */
const OUTCOMES: Readonly<Record<string, Key>> = {
  answer: "outcome_answer",
  "stop the reply": "outcome_stop",
  "wait for more": "outcome_wait",
  ignore: "outcome_ignore",
  speculate: "outcome_speculate",
  discard: "outcome_discard",
  "end of speech": "outcome_end",
  "a new piece": "outcome_piece",
  "go on": "outcome_on",
};

function Why({ decision }: { decision: Decision }) {
  const words = useWords();
  const { outcome, rule, turn_id: turn } = decision;
  return (
    <li>
      <Time at={decision.at} />
      <span>
        <b>{outcome in OUTCOMES ? words(OUTCOMES[outcome] as Key) : outcome}</b>
        {turn > 0 && <em>{words("turnNumber", { turn })}</em>}
        <small>{words("because", { rule, evidence: inOneLine(decision.evidence) })}</small>
      </span>
    </li>
  );
}

const LOGS: readonly (readonly [Key, (state: State) => readonly LogEntry[]])[] = [
  ["thought", (state) => state.thoughts],
  ["caption", (state) => state.captions],
  ["retrieval", (state) => state.retrievals],
  ["tools", (state) => state.tools],
];

export function Insights() {
  const words = useWords();
  const speaker = useConversation((state) => state.currentSpeakerId);
  const nothing = useConversation(
    (state) => state.currentSpeakerId === null && LOGS.every(([, of]) => of(state).length === 0),
  );
  return (
    <section class="panel insights" aria-labelledby="insights">
      <h2 id="insights">{words("insights")}</h2>
      {nothing && <p class="hint">{words("insightsNone")}</p>}
      {speaker !== null && (
        <dl>
          <dt>{words("speaker")}</dt>
          <dd>{speaker}</dd>
        </dl>
      )}
      {LOGS.map(([name, select]) => (
        <Log key={name} name={name} select={select} />
      ))}
    </section>
  );
}

interface LogProps {
  readonly name: Key;
  readonly select: (state: State) => readonly LogEntry[];
}

function Log({ name, select }: LogProps) {
  const words = useWords();
  const entries = useConversation(select);
  if (entries.length === 0) return null;
  return (
    <details class="log-of" open>
      <summary>
        {words(name)} <span class="count">{entries.length}</span>
      </summary>
      <ol class="log">
        {entries
          .slice(-SHOWN)
          .reverse()
          .map((entry, index) => (
            <li key={`${entry.at} ${entries.length - index}`}>
              <Time at={entry.at} />
              <span>{entry.text}</span>
            </li>
          ))}
      </ol>
    </details>
  );
}

function Time({ at }: { at: number }) {
  const date = new Date(at);
  return <time dateTime={date.toISOString()}>{date.toLocaleTimeString([], { hour12: false })}</time>;
}
