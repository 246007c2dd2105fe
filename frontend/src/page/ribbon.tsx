// Who spoke when: the last seconds as two rows of levels, the user above, the agent below.

import { useEffect, useRef } from "preact/hooks";

import type { State } from "../state.ts";
import { usePage, useWords } from "./hooks.ts";

const COLUMN_MS = 80;
const COLUMNS = 150;
const SECONDS = (COLUMN_MS * COLUMNS) / 1000;

interface Column {
  readonly user: number;
  readonly agent: number;
  readonly speech: State["userSpeech"];
  readonly playback: State["playback"];
}

const SILENCE: Column = { user: 0, agent: 0, speech: "none", playback: "idle" };

export function Ribbon({ running }: { running: boolean }) {
  const { conversation } = usePage();
  const words = useWords();
  const canvas = useRef<HTMLCanvasElement>(null);
  const columns = useRef<Column[]>(Array(COLUMNS).fill(SILENCE));
  const played = useRef(0);

  useEffect(
    () =>
      conversation.onNewAudioOutput((samples) => {
        played.current = Math.max(played.current, loudness(samples));
      }),
    [conversation],
  );
  useEffect(() => {
    const draw = () => canvas.current && paint(canvas.current, columns.current);
    draw();
    if (!running) return undefined;
    const timer = setInterval(() => {
      const { inputLevel, micMuted, userSpeech, playback } = conversation.state;
      const agent = playback === "paused" || playback === "idle" ? 0 : played.current;
      played.current *= 0.6;
      columns.current.shift();
      const user = micMuted ? 0 : inputLevel;
      columns.current.push({ user, agent, speech: userSpeech, playback });
      draw();
    }, COLUMN_MS);
    return () => clearInterval(timer);
  }, [running, conversation]);

  return <canvas class="ribbon" ref={canvas} role="img" aria-label={words("ribbon", { seconds: SECONDS })} />;
}

function loudness(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return Math.sqrt(sum / Math.max(samples.length, 1));
}

/** Loudness as a height from 0 to 1: 60 dB of it. */
export function height(rms: number): number {
  return Math.min(1, Math.max(0, 1 + Math.log10(Math.max(rms, 1e-4) * 2) / 2.4));
}

function paint(canvas: HTMLCanvasElement, columns: readonly Column[]): void {
  const scale = window.devicePixelRatio || 1;
  const [width, tall] = [canvas.clientWidth * scale, canvas.clientHeight * scale];
  if (canvas.width !== width || canvas.height !== tall) [canvas.width, canvas.height] = [width, tall];
  const context = canvas.getContext("2d");
  if (context === null) return;
  const style = getComputedStyle(canvas);
  const colour = (name: string) => style.getPropertyValue(name);
  const [user, agent, faint] = [colour("--user"), colour("--agent"), colour("--line")];
  context.clearRect(0, 0, width, tall);
  const step = width / columns.length;
  const [middle, thick] = [tall / 2, Math.max(scale, step * 0.55)];
  context.fillStyle = faint;
  context.fillRect(0, middle - scale / 2, width, scale);
  columns.forEach((column, index) => {
    const x = index * step + (step - thick) / 2;
    const bar = (level: number, up: boolean, fill: string, alpha: number) => {
      const long = height(level) * (middle - 2 * scale);
      if (long < scale) return;
      context.globalAlpha = alpha;
      context.fillStyle = fill;
      context.beginPath();
      context.roundRect(x, up ? middle - scale - long : middle + scale, thick, long, thick / 3);
      context.fill();
    };
    const speaks = column.speech !== "none";
    bar(column.user, true, speaks ? user : faint, column.speech === "candidate" ? 0.6 : 1);
    bar(column.agent, false, column.agent ? agent : faint, column.playback === "ducked" ? 0.4 : 1);
  });
  context.globalAlpha = 1;
}
