// What went wrong, in the language of the page.

import type { Problem } from "../state.ts";
import type { Words } from "./i18n.ts";

/** A sentence of the page's own, and behind it what the server says, in the server's language. */
export function worded({ code, message, reason }: Problem, words: Words): string {
  const ended = reason !== undefined; // by the server, which may not have let it begin
  const own = words(`problem_${ended ? "session-ended" : code}`);
  if (code === "server" || code === "upload-failed") return `${own} ${message}`;
  return reason ? `${own} ${words("problem_server")} ${reason}` : own;
}
