// Where the time of a turn went, as bars; and which words of a reply were heard. Pure.

import { STAGES, type LatencyTrace, type Message, type Stage } from "../state.ts";

/** A bar in shares of the whole width, 0 to 1. */
export interface Bar {
  readonly stage: Stage;
  readonly ms: number | null;
  readonly from: number;
  readonly width: number;
}

/** One bar for each stage, each beginning where the one before ends. */
export function bars(trace: LatencyTrace): Bar[] {
  const sum = STAGES.reduce((total, stage) => total + (trace.stages[stage] ?? 0), 0);
  const scale = Math.max(sum, trace.total ?? 0, 1);
  let from = 0;
  return STAGES.map((stage) => {
    const ms = trace.stages[stage];
    const width = (ms ?? 0) / scale;
    const bar = { stage, ms, from, width };
    from += width;
    return bar;
  });
}

export interface Parts {
  readonly heard: string;
  readonly rest: string;
}

/** What has left the loudspeaker, and what has not. A pair of surrogates stays together. */
export function parts(message: Message): Parts {
  if (message.role !== "assistant") return { heard: message.content, rest: "" };
  let cut = Math.min(message.heardChars, message.content.length);
  const code = message.content.charCodeAt(cut);
  if (code >= 0xdc00 && code <= 0xdfff) cut += 1;
  return { heard: message.content.slice(0, cut), rest: message.content.slice(cut) };
}
