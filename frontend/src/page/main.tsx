// The server's page: a conversation, and everything that can be seen of it.

import { render } from "preact";

import { createConversation } from "../conversation.ts";
import { written } from "./about.ts";
import { App } from "./app.tsx";
import { load, storage } from "./preferences.ts";

const about = written(document);
const kept = load(storage(), navigator.languages);
const files = (name: string) => new URL(`./static/${name}`, document.baseURI).href;

const conversation = createConversation(socketUrl(), {
  settings: kept.settings,
  workletUrl: files("js/worklet.js"),
  // A server without a detector depends on the marks of this side.
  marks: about.vad || about.detector === false,
  ...(about.vad ? { vadAssets: files("vad/") } : {}),
  ...(about.vad && about.denoiser ? { denoiser: files("denoise/model.onnx") } : {}),
});

const root = document.getElementById("page");
if (root !== null) render(<App conversation={conversation} written={about} kept={kept} />, root);

function socketUrl(): URL {
  const url = new URL("./ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}
