// What stands in the way, in words, with the way out.

import type { ProblemCode } from "../state.ts";
import { useConversation, usePage, useNow, useWords } from "./hooks.ts";
import { Cross } from "./icons.tsx";
import { worded } from "./problems.ts";

/** Said by the notices of the connection, as long as it is so. */
const CONNECTION: readonly ProblemCode[] = ["connection-lost", "connection-refused", "session-ended"];

export function Notices({ own, dismissOwn }: { own: string | null; dismissOwn: () => void }) {
  return (
    <div class="notices">
      <Starting />
      <Queue />
      <Lost />
      <Ended />
      <LastProblem />
      {own !== null && <Notice text={own} dismiss={dismissOwn} />}
    </div>
  );
}

function Notice({ text, dismiss }: { text: string; dismiss: () => void }) {
  const words = useWords();
  return (
    <div class="notice problem" role="alert">
      <p>{text}</p>
      <button type="button" class="plain" onClick={dismiss} aria-label={words("dismiss")}>
        <Cross />
      </button>
    </div>
  );
}

function Starting() {
  const { about } = usePage();
  const words = useWords();
  if (about.status === "ok") return null;
  const failed = about.status === "failed";
  return (
    <div class={failed ? "notice problem" : "notice"} role={failed ? "alert" : "status"}>
      <p>{words(failed ? "leadFailed" : "starting")}</p>
    </div>
  );
}

function Queue() {
  const words = useWords();
  const position = useConversation((state) => (state.queued ? state.queuePosition : null));
  const started = useConversation((state) => state.streaming);
  if (position === null) return null;
  return (
    <div class="notice queue" role="status">
      <p>{words(started ? "queue" : "queueStart", { position })}</p>
    </div>
  );
}

function Lost() {
  const words = useWords();
  const waiting = useConversation((state) => state.connection === "waiting");
  const retryAt = useConversation((state) => state.retryAt);
  const now = useNow(500, waiting);
  if (!waiting) return null;
  const seconds = Math.ceil(((retryAt ?? now) - now) / 1000);
  // The seconds are not announced one by one.
  return (
    <div class="notice lost" role="status" aria-live={seconds > 0 ? "off" : "polite"}>
      <p>{seconds > 0 ? words("retry", { seconds }) : words("retryNow")}</p>
    </div>
  );
}

/** The server has closed the connection for good, and says why. */
function Ended() {
  const { conversation } = usePage();
  const words = useWords();
  const closed = useConversation((state) => state.connection === "closed");
  const problem = useConversation((state) =>
    state.problems.findLast(({ reason }) => reason !== undefined),
  );
  if (!closed) return null;
  return (
    <div class="notice problem ended" role="alert">
      <p>
        {words("ended")} {problem && worded(problem, words)}
      </p>
      <button type="button" class="button" onClick={() => conversation.restart()}>
        {words("restart")}
      </button>
    </div>
  );
}

function LastProblem() {
  const { dismissed, dismiss } = usePage();
  const words = useWords();
  const problem = useConversation((state) => state.problems.at(-1));
  if (problem === undefined || problem.solved || problem.at <= dismissed) return null;
  if (problem.code === "insecure") return <Insecure />;
  if (CONNECTION.includes(problem.code)) return null;
  return <Notice text={worded(problem, words)} dismiss={() => dismiss(problem.at)} />;
}

export function Insecure() {
  const words = useWords();
  const port = location.port || "80";
  const own = `http://localhost:${port}`;
  return (
    <div class="card insecure" role="alert">
      <h2>{words("problem_insecure")}</h2>
      <p>{words("insecureWhy")}</p>
      <p>{words("insecureTunnel")}</p>
      <pre tabIndex={0}>
        <code>{`ssh -L ${port}:localhost:${port} ${location.hostname}`}</code>
      </pre>
      <p>
        {words("insecureOpen")} <a href={own}>{own}</a>
      </p>
      <p>{words("insecureTls")}</p>
      <pre tabIndex={0}>
        <code>xtalk serve --ssl-certfile cert.pem --ssl-keyfile key.pem</code>
      </pre>
    </div>
  );
}
