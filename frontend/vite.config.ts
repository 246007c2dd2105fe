// Two builds into one folder: the library (`vite build`) and the page (`vite build --mode page`).

import { readFileSync } from "node:fs";

import { defineConfig, type Plugin, type UserConfig } from "vite";

import { workletSource } from "./src/worklets.ts";

const common: UserConfig = {
  publicDir: false,
  logLevel: "warn",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
};

/** What runs on the audio thread, as a file for pages whose policy forbids `blob:` scripts. */
const worklet: Plugin = {
  name: "worklet",
  generateBundle() {
    this.emitFile({ type: "asset", fileName: "js/worklet.js", source: workletSource() });
  },
};

/** The licence of what is bundled, which asks to go with it. */
const licenses: Plugin = {
  name: "licenses",
  generateBundle() {
    const preact = readFileSync("node_modules/preact/LICENSE", "utf8");
    const source = `page.js contains Preact:\n\n${preact}`;
    this.emitFile({ type: "asset", fileName: "page/licenses.txt", source });
  },
};

const library: UserConfig = {
  ...common,
  plugins: [worklet],
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: false,
    lib: {
      entry: "src/index.ts",
      name: "xtalk",
      formats: ["es", "iife"],
      fileName: (format) => (format === "es" ? "js/index.js" : "js/index.iife.js"),
    },
  },
};

const page: UserConfig = {
  ...common,
  base: "./",
  // The HTML is served at the server's root, its files under `/static`.
  experimental: { renderBuiltUrl: (name) => `./static/${name}` },
  plugins: [licenses],
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: false,
    assetsInlineLimit: 0,
    modulePreload: false,
    rolldownOptions: {
      output: {
        entryFileNames: "page/page.js",
        assetFileNames: "page/[name][extname]",
        codeSplitting: false,
      },
    },
  },
};

export default defineConfig(({ mode }) => (mode === "page" ? page : library));
