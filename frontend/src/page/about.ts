// What the server tells of itself: in the page's own HTML, and again from `api/page`.

export interface About {
  readonly status: "starting" | "ok" | "failed";
  readonly version: string;
  /** Are the files of the browser's own detector and denoiser there? */
  readonly vad: boolean;
  readonly denoiser: boolean;
  /** Class names of the models by slot; absent until they are built. */
  readonly models?: Readonly<Record<string, string>>;
  readonly languages?: Readonly<Record<string, readonly string[]>>;
  readonly emotions?: readonly string[];
  /** Does the server itself detect speech? */
  readonly detector?: boolean;
  readonly downloads?: { readonly recording?: boolean; readonly log?: boolean };
  readonly upload_bytes?: number;
}

const NOTHING: About = { status: "starting", version: "", vad: false, denoiser: false };

/** As the server wrote it into the page. */
export function written(document: Document): About {
  const content = document.querySelector<HTMLMetaElement>('meta[name="xtalk-server"]')?.content;
  return { ...NOTHING, ...(JSON.parse(content || "{}") as Partial<About>) };
}

/** As it is now. */
export async function asked(): Promise<About> {
  return (await fetched("./api/page")) as About;
}

export interface Choices {
  readonly voices: readonly string[];
  readonly ttsModels: readonly string[];
  readonly llmModels: readonly string[];
}

/** What can be chosen. A server that does not say offers nothing. */
export async function choices(): Promise<Choices> {
  const [voices, tts, llm] = await Promise.all([
    fetched("./api/voices") as Promise<{ audios: { name: string }[] }>,
    fetched("./api/available-tts-models") as Promise<{ models: { type: string }[] }>,
    fetched("./api/available-llm-models") as Promise<{ models: { model: string }[] }>,
  ]);
  return {
    voices: voices.audios.map(({ name }) => name),
    ttsModels: tts.models.map(({ type }) => type),
    llmModels: llm.models.map(({ model }) => model),
  };
}

/** Bytes of the recording and of the log of a session that can be had now. */
export async function kept(session: string): Promise<Readonly<Record<string, number>>> {
  return (await fetched(`./api/sessions/${session}`)) as Record<string, number>;
}

async function fetched(path: string): Promise<unknown> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

/** The languages that recogniser and agent both understand; empty when they do not say. */
export function understood(about: About): readonly string[] {
  const of = (slot: string) => about.languages?.[slot] ?? [];
  const [heard, answered] = [of("asr"), of("llm_agent")];
  if (heard.length === 0) return answered;
  return answered.length === 0 ? heard : heard.filter((tag) => answered.includes(tag));
}
