import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { AudioFailure } from "../src/audio.ts";
import { type ConversationOptions, createConversation } from "../src/conversation.ts";
import { encodePcm } from "../src/pcm.ts";
import { type Detector, EnergyDetector } from "../src/vad.ts";
import { FakeEnvironment, FakeOutput, type FakeSocket, settle, tone } from "./fakes.ts";

const URL = "ws://server/ws";
const SPEECH = 0.2;
const NOISE = 0.002;

function setUp(options: ConversationOptions = {}) {
  const environment = new FakeEnvironment();
  const conversation = createConversation(URL, options, environment);
  return { environment, conversation, ...environment };
}

function admit(socket: FakeSocket, session = "s1"): void {
  socket.open();
  const data = { session_id: session, sample_rate_in: 16_000, sample_rate_out: 48_000 };
  socket.receive({ action: "session_info", data });
}

async function started(options: ConversationOptions = {}) {
  const { environment, conversation } = setUp(options);
  admit(environment.socket);
  await conversation.toggleStreaming();
  const { clock, audio } = environment;
  return { environment, conversation, clock, audio, socket: environment.socket };
}

/** The server's reply: text, and chunks of 100 ms from this index on. */
function reply(socket: FakeSocket, turnId: number, text: string, chunks: number[]): void {
  socket.receive({ action: "update_resp", data: { text, turn_id: turnId } });
  socket.receive({ action: "start_tts", data: "" });
  chunks.forEach((index, i) => {
    const textEnd = Math.round((text.length * (i + 1)) / chunks.length);
    socket.receive({ action: "tts_chunk_meta", data: { chunk_index: index, text_end: textEnd } });
    socket.receive(encodePcm(tone(4800)));
  });
  socket.receive({ action: "finish_resp", data: { text, turn_id: turnId } });
}

function heard(socket: FakeSocket, text: string, turnId: number, final = true): void {
  const data = { text, confidence: 0, turn_id: turnId };
  if (final) socket.receive({ action: "finish_asr", data: { ...data, is_final: true } });
  else socket.receive({ action: "update_asr", data: { ...data, is_final: false } });
}

// --- start and stop ------------------------------------------------------------------------------

test("it connects at once, and start opens loudspeaker and microphone", async () => {
  const { environment, conversation } = setUp();
  assert.deepEqual(environment.urls, [URL]);
  assert.equal(conversation.state.connection, "connecting");
  admit(environment.socket);
  assert.equal(conversation.state.currentSessionId, "s1");
  const starting = conversation.toggleStreaming();
  assert.equal(conversation.state.loading, true);
  await starting;
  assert.equal(conversation.state.streaming, true);
  assert.equal(conversation.state.loading, false);
  const [start] = environment.socket.of("conversation_start");
  assert.deepEqual(start?.client, { pauses_itself: false, decisions: true });
  assert.equal(start?.mode, undefined);
});

test("an address of http, or beside the page, becomes the WebSocket's", () => {
  for (const [given, used] of [
    ["http://host/x/ws", "ws://host/x/ws"],
    ["https://host/ws", "wss://host/ws"],
  ] as const) {
    const environment = new FakeEnvironment();
    createConversation(given, {}, environment).close();
    assert.deepEqual(environment.urls, [used]);
  }
});

test("start twice is once", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  await Promise.all([conversation.toggleStreaming(), conversation.toggleStreaming()]);
  assert.equal(environment.audio.microphones.length, 1);
});

test("frames go out raw, as 1024 bytes each, from start to stop", async () => {
  const { conversation, audio, socket } = await started();
  await audio.speak(0.1, 3);
  assert.deepEqual(socket.frames.map(({ byteLength }) => byteLength), [1024, 1024, 1024]);
  await conversation.toggleStreaming();
  await audio.speak(0.1, 3);
  assert.equal(socket.frames.length, 3);
  assert.equal(socket.of("conversation_end").length, 1);
});

test("stop gives back the microphone and the loudspeaker", async () => {
  const { conversation, audio } = await started();
  await conversation.toggleStreaming();
  assert.equal(audio.output.closed, true);
  assert.equal(audio.microphones[0]?.closed, true);
  assert.equal(conversation.state.streamState, "idle");
  await conversation.toggleStreaming();
  assert.equal(conversation.state.streaming, true);
});

test("a stop while the microphone is still being opened closes it then", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  const starting = conversation.toggleStreaming();
  conversation.restart();
  await starting;
  assert.equal(environment.audio.microphones[0]?.closed, true);
  assert.equal(environment.audio.output.closed, true);
  assert.equal(conversation.state.streaming, false);
  assert.equal(conversation.state.loading, false);
});

test("an end by the server while the microphone is being opened closes it then", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  const starting = conversation.toggleStreaming();
  environment.socket.end(1000, "idle");
  await starting;
  assert.equal(environment.audio.microphones[0]?.closed, true);
  assert.equal(conversation.state.streaming, false);
  assert.equal(conversation.state.loading, false);
  await conversation.toggleStreaming();
  assert.equal(environment.sockets.length, 2);
});

test("a refused microphone is told in words and by a code, and leaves nothing open", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  environment.audio.failure = new AudioFailure("microphone-denied", "It was not allowed.");
  await conversation.toggleStreaming();
  assert.equal(conversation.state.streaming, false);
  assert.equal(conversation.state.loading, false);
  assert.deepEqual(conversation.state.problems.map(({ code }) => code), ["microphone-denied"]);
  assert.equal(conversation.state.messages.at(-1)?.content, "It was not allowed.");
  assert.equal(environment.audio.output.closed, true);
});

test("a microphone that works in the end stands in nobody's way any more", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  environment.audio.failure = new AudioFailure("microphone-denied", "It was not allowed.");
  await conversation.toggleStreaming();
  assert.equal(conversation.state.problems.at(-1)?.solved, undefined);
  environment.audio.failure = null;
  await conversation.toggleStreaming();
  assert.equal(conversation.state.problems.at(-1)?.solved, true);
});

test("a stop in mid-reply leaves nothing of it still to come", async () => {
  const { conversation, socket } = await speaking();
  await conversation.toggleStreaming();
  const [story] = conversation.state.messages;
  assert.equal(story?.interrupted, true);
  assert.ok((story?.heardChars as number) < (story?.content.length as number));
  await conversation.toggleStreaming();
  assert.equal(socket.of("tts_playback_finished").length, 0);
  assert.equal(conversation.state.streamState, "idle");
});

test("a stop while the server thinks leaves nobody thinking", async () => {
  const { conversation, socket } = await started();
  heard(socket, "what time is it", 1);
  await conversation.toggleStreaming();
  await conversation.toggleStreaming();
  socket.receive({ action: "invalid_asr_result", data: "" });
  assert.equal(conversation.state.streamState, "idle");
});

test("what was on its way when the user stopped is shown, and leaves nobody at work", async () => {
  const { conversation, socket } = await started();
  await conversation.toggleStreaming();
  socket.receive({ action: "pause_tts", data: "" });
  heard(socket, "what time", 1, false);
  assert.equal(conversation.state.streamState, "idle");
  heard(socket, "what time is it", 1);
  assert.equal(conversation.state.streamState, "idle");
  assert.equal(conversation.state.messages[0]?.content, "what time is it");
  await conversation.toggleStreaming();
  socket.receive({ action: "invalid_asr_result", data: "" });
  assert.equal(conversation.state.streamState, "idle");
});

test("close leaves no timer, no socket, no listener, no audio", async () => {
  const { environment, conversation, clock, audio, socket } = await started();
  heard(socket, "hello", 1);
  reply(socket, 1, "Hello there.", [1, 2]);
  await audio.speak(SPEECH, 20);
  await audio.speak(NOISE, 10); // which leaves a timer for the ducking
  audio.output.play(50);
  conversation.close();
  assert.equal(clock.pending, 0);
  assert.equal(socket.closed, true);
  assert.equal(environment.events, null);
  assert.equal(audio.output.closed, true);
  assert.equal(audio.microphones[0]?.closed, true);
  await conversation.toggleStreaming();
  assert.equal(audio.microphones.length, 1);
  conversation.restart();
  assert.equal(environment.sockets.length, 1);
});

test("restart begins a new session on a new connection and clears what is shown", async () => {
  const { environment, conversation, socket } = await started();
  heard(socket, "hello", 1);
  conversation.restart();
  assert.equal(socket.closed, true);
  assert.equal(environment.sockets.length, 2);
  assert.deepEqual(conversation.state.messages, []);
  assert.equal(conversation.state.streaming, false);
  admit(environment.socket, "s2");
  heard(environment.socket, "again", 1);
  assert.deepEqual(conversation.state.messages.map(({ content }) => content), ["again"]);
});

test("clearing the history keeps the session", async () => {
  const { environment, conversation, socket } = await started();
  heard(socket, "hello", 1);
  conversation.clearHistory();
  assert.deepEqual(conversation.state.messages, []);
  assert.equal(environment.sockets.length, 1);
});

// --- a turn --------------------------------------------------------------------------------------

test("a turn goes from listening over processing and speaking to idle", async () => {
  const { conversation, audio, socket } = await started();
  const states: string[] = [];
  conversation.subscribe(({ streamState }) => {
    if (states.at(-1) !== streamState) states.push(streamState);
  });
  heard(socket, "what", 1, false);
  await settle();
  heard(socket, "what time is it", 1);
  await settle();
  reply(socket, 1, "It is ten.", [1, 2]);
  socket.receive({ action: "tts_finished", data: {} });
  await settle();
  assert.deepEqual(states, ["idle", "listening", "processing"]);
  audio.output.play(FakeOutput.LATENCY_MS + 5);
  await settle();
  audio.output.play(300);
  await settle();
  assert.deepEqual(states, ["idle", "listening", "processing", "speaking", "idle"]);
});

test("each chunk is acknowledged when it was heard, in the time of this side", async () => {
  const { clock, audio, socket } = await started();
  const begin = clock.wall();
  reply(socket, 1, "It is ten.", [7, 8]);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(400);
  const acks = socket.of("tts_chunk_played");
  assert.deepEqual(acks.map(({ chunk_index }) => chunk_index), [7, 8]);
  assert.deepEqual(acks.map(({ timestamp }) => (timestamp as number) - begin), [120, 220]);
  assert.equal(socket.of("tts_playback_finished").length, 1);
});

test("heard words follow the sound", async () => {
  const { conversation, audio, socket } = await started();
  reply(socket, 1, "one two", [1, 2]);
  const heardChars = () => conversation.state.messages.at(-1)?.heardChars;
  assert.equal(heardChars(), 0);
  audio.output.play(150);
  assert.equal(heardChars(), 4);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(150);
  assert.equal(heardChars(), 7);
});

test("audio while the microphone is off is dropped, and its text shown", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  reply(environment.socket, 1, "About your file.", [1]);
  assert.equal(conversation.state.messages[0]?.content, "About your file.");
  assert.equal(conversation.state.messages[0]?.unspoken, true);
  assert.equal(conversation.state.streamState, "idle");
  assert.equal(environment.socket.of("tts_chunk_played").length, 0);
});

test("audio of odd length is played, not thrown at", async () => {
  const { audio, socket } = await started();
  socket.receive({ action: "start_tts", data: "" });
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 1 } });
  socket.receive(new ArrayBuffer(961));
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 2 } });
  socket.receive(new ArrayBuffer(959));
  audio.output.play(100);
  assert.deepEqual(socket.of("tts_chunk_played").map(({ chunk_index }) => chunk_index), [1, 2]);
});

test("a server that tells no text with its chunks is heard in full at the end", async () => {
  const { conversation, audio, socket } = await started();
  socket.receive({ action: "update_resp", data: { text: "Ten.", turn_id: 1 } });
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 1 } });
  socket.receive(encodePcm(tone(4800)));
  audio.output.play(200);
  assert.equal(conversation.state.messages[0]?.heardChars, 0);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(10);
  assert.equal(conversation.state.messages[0]?.heardChars, 4);
});

test("a reply that ends before its text was not heard to the end of that", async () => {
  const { conversation, audio, socket } = await started();
  reply(socket, 1, "It is", [1, 2]);
  socket.receive({ action: "finish_resp", data: { text: "It is ten.", turn_id: 1 } });
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(400);
  const [message] = conversation.state.messages;
  assert.deepEqual([message?.heardChars, message?.unspoken], [5, true]);
});

test("an announcement is for one piece of audio, and an empty piece is none", async () => {
  const { audio, socket } = await started();
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 7 } });
  socket.receive(new ArrayBuffer(0));
  socket.receive(encodePcm(tone(480)));
  audio.output.play(100);
  assert.deepEqual(socket.of("tts_chunk_played").map(({ chunk_index }) => chunk_index), [0]);
});

test("audio without its announcement is played as chunk 0", async () => {
  const { audio, socket } = await started();
  socket.receive(encodePcm(tone(480)));
  audio.output.play(100);
  assert.deepEqual(socket.of("tts_chunk_played").map(({ chunk_index }) => chunk_index), [0]);
});

test("the latency of a turn is the server's and what only this side sees", async () => {
  const { conversation, clock, audio, socket } = await started();
  clock.advance(0);
  const sent = socket.of("ping")[0]?.timestamp as number;
  audio.output.play(30);
  socket.receive({ action: "pong", client_timestamp: sent, server_recv_timestamp: sent });
  heard(socket, "what time is it", 1);
  reply(socket, 1, "It is ten.", [1, 2]);
  const report = {
    network_latency_ms: 5,
    asr_latency_ms: 80,
    llm_first_token_ms: 100,
    llm_sentence_ms: 250,
    tts_first_chunk_ms: 60,
    e2e_latency_ms: 590,
    silence_ms: 200,
    turn_id: 1,
  };
  socket.receive({ action: "latency_metrics", data: report });
  audio.output.play(150);
  socket.receive({ action: "latency_metrics", data: { ...report, playout_ms: 640 } });
  const { traces, latency } = conversation.state;
  assert.equal(traces.length, 1);
  assert.equal(traces[0]?.stages.network, 30);
  const playout = traces[0]?.stages.playout as number;
  assert.ok(Math.abs(playout - FakeOutput.LATENCY_MS) < 3);
  assert.equal(traces[0]?.total, 590 + 30 + playout);
  assert.equal(latency.llmSentence, 250);
});

// --- barge-in ------------------------------------------------------------------------------------

async function speaking(options: ConversationOptions = {}) {
  const all = await started(options);
  await all.audio.speak(NOISE, 20);
  reply(all.socket, 1, "A long story.", Array.from({ length: 30 }, (_, i) => i + 1));
  all.audio.output.play(200);
  return all;
}

test("a candidate ducks the reply, and when it was nothing it comes back", async () => {
  const { conversation, audio } = await speaking();
  await audio.speak(SPEECH, 2);
  assert.equal(conversation.state.userSpeech, "candidate");
  assert.equal(conversation.state.playback, "ducked");
  await audio.speak(NOISE, 10);
  assert.equal(conversation.state.userSpeech, "none");
  assert.equal(conversation.state.playback, "playing");
});

test("speech that the server takes for no interruption ducks for a second more", async () => {
  const { conversation, clock, audio } = await speaking();
  await audio.speak(SPEECH, 12);
  await audio.speak(NOISE, 10);
  clock.advance(900);
  assert.equal(conversation.state.playback, "ducked");
  clock.advance(200);
  assert.equal(conversation.state.playback, "playing");
});

test("an energy detector sends no marks, unless it is told to", async () => {
  const silent = await speaking();
  await silent.audio.speak(SPEECH, 12);
  await silent.audio.speak(NOISE, 10);
  assert.deepEqual(silent.socket.of("vad_speech_start"), []);
  assert.deepEqual(silent.socket.of("vad_speech_end"), []);
  const marking = await speaking({ marks: true });
  await marking.audio.speak(SPEECH, 12);
  await marking.audio.speak(NOISE, 10);
  assert.equal(marking.socket.of("vad_speech_start").length, 1);
  assert.equal(marking.socket.of("vad_speech_end").length, 1);
  assert.equal(marking.conversation.state.userSpeech, "none");
  assert.equal(marking.conversation.state.streamState, "processing");
});

test("a pause by the server holds at the sample, and a resume goes on there", async () => {
  const { conversation, audio, socket } = await speaking();
  socket.receive({ action: "pause_tts", data: "" });
  socket.receive({ action: "pause_tts", data: "" });
  assert.equal(conversation.state.playback, "paused");
  assert.equal(conversation.state.streamState, "listening");
  const acked = socket.of("tts_chunk_played").length;
  audio.output.play(1000);
  assert.ok(socket.of("tts_chunk_played").length <= acked + 1);
  socket.receive({ action: "resume_tts", data: "" });
  assert.equal(conversation.state.streamState, "speaking");
  audio.output.play(3000);
  const indices = socket.of("tts_chunk_played").map(({ chunk_index }) => chunk_index);
  assert.deepEqual(indices, Array.from({ length: 30 }, (_, i) => i + 1));
});

test("a reply that has run dry, for a tool runs, is speaking after a cough", async () => {
  const { conversation, audio, socket } = await started();
  heard(socket, "what time is it", 1);
  reply(socket, 1, "Let me look.", [1]);
  audio.output.play(400);
  socket.receive({ action: "pause_tts", data: "" });
  audio.output.play(300);
  socket.receive({ action: "resume_tts", data: "" });
  assert.equal(conversation.state.streamState, "speaking");
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 2, text_end: 12 } });
  socket.receive(encodePcm(tone(48_000)));
  audio.output.play(500);
  assert.deepEqual([conversation.state.playback, conversation.state.streamState], [
    "playing",
    "speaking",
  ]);
});

test("a rejected utterance leaves the page when the reply goes on", async () => {
  const { conversation, socket } = await speaking();
  socket.receive({ action: "pause_tts", data: "" });
  heard(socket, "mhm", 2, false);
  socket.receive({ action: "resume_tts", data: "" });
  assert.deepEqual(conversation.state.messages.map(({ role }) => role), ["assistant"]);
});

test("a stop marks what was not heard, and the next reply plays in the same context", async () => {
  const { conversation, audio, socket } = await speaking();
  socket.receive({ action: "pause_tts", data: "" });
  socket.receive({ action: "stop_tts", data: "" });
  heard(socket, "what time is it", 2);
  const [story] = conversation.state.messages;
  assert.equal(story?.interrupted, true);
  assert.ok((story?.heardChars as number) < (story?.content.length as number));
  reply(socket, 2, "Ten.", [31]);
  audio.output.play(300);
  assert.equal(audio.outputs.length, 1);
  assert.equal(socket.of("tts_chunk_played").at(-1)?.chunk_index, 31);
});

test("an answer that was stopped before it sounded is not still to come", async () => {
  const { conversation, socket } = await started();
  heard(socket, "hello", 1);
  socket.receive({ action: "update_resp", data: { text: "Hello there.", turn_id: 1 } });
  heard(socket, "what time", 2, false);
  socket.receive({ action: "finish_resp", data: { text: "Hello there.", turn_id: 1 } });
  socket.receive({ action: "stop_tts", data: "" });
  heard(socket, "what time is it", 2);
  const answer = conversation.state.messages.find(({ role }) => role === "assistant");
  assert.deepEqual([answer?.interrupted, answer?.heardChars], [true, 0]);
});

test("where both talk at the same time, more words cut nothing off", async () => {
  const { conversation, audio, socket } = await started({ simGen: true });
  heard(socket, "hello", 1);
  reply(socket, 1, "Hello there.", [1, 2, 3]);
  audio.output.play(150);
  heard(socket, "go on", 2);
  const answer = conversation.state.messages.find(({ role }) => role === "assistant");
  assert.equal(answer?.interrupted, undefined);
});

test("the hard resume plays once more what was not heard, as the same reply", async () => {
  const { conversation, audio, socket } = await speaking();
  for (const action of ["stop_tts", "start_tts", "resume_tts"] as const) {
    socket.receive({ action, data: "" });
  }
  socket.receive({ action: "tts_chunk_meta", data: { chunk_index: 31, text_end: 13 } });
  socket.receive(encodePcm(tone(4800)));
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(300);
  const [story] = conversation.state.messages;
  assert.equal(story?.interrupted, undefined);
  assert.equal(story?.heardChars, 13);
  assert.equal(socket.of("tts_playback_finished").length, 1);
});

test("a pure frontend detects nothing and says so", async () => {
  const { conversation, audio, socket } = await started({ pureFrontend: true });
  assert.equal(socket.of("conversation_start")[0]?.mode, "pure_frontend");
  assert.equal(conversation.state.streamState, "listening");
  assert.equal(conversation.state.detector, "none");
  await audio.speak(SPEECH, 20);
  assert.equal(conversation.state.userSpeech, "none");
  assert.equal(socket.frames.length, 20);
});

test("mute drops frames, ends the segment, and calls off a candidate", async () => {
  const { conversation, audio, socket } = await speaking();
  await audio.speak(SPEECH, 2);
  const before = socket.frames.length;
  conversation.toggleMicMute();
  assert.equal(conversation.state.micMuted, true);
  assert.equal(conversation.state.playback, "playing");
  await audio.speak(SPEECH, 5);
  assert.equal(socket.frames.length, before);
  assert.equal(socket.of("vad_speech_end")[0]?.reason, "muted");
  conversation.toggleMicMute();
  await audio.speak(SPEECH, 5);
  assert.equal(socket.frames.length, before + 5);
});

test("mute while the user is heard leaves nobody's turn", async () => {
  const { conversation, socket } = await started();
  heard(socket, "what", 1, false);
  conversation.toggleMicMute();
  assert.equal(conversation.state.streamState, "idle");
});

test("a microphone that was muted before the start is muted after it", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  conversation.toggleMicMute();
  await conversation.toggleStreaming();
  await environment.audio.speak(SPEECH, 3);
  assert.deepEqual(environment.socket.frames, []);
});

// --- models --------------------------------------------------------------------------------------

test("the detector is loaded once, however often the microphone starts", async () => {
  const { environment, conversation } = setUp({ vadAssets: "/vad/" });
  const loads = mock.fn(environment.loadDetector);
  environment.loadDetector = loads;
  admit(environment.socket);
  for (let i = 0; i < 4; i++) await conversation.toggleStreaming();
  assert.equal(loads.mock.callCount(), 1);
});

test("nobody waits for the detector: until it is there, the simple one listens", async () => {
  const { environment, conversation } = setUp({ vadAssets: "/vad/" });
  let loaded = (_: Detector) => {};
  environment.loadDetector = () => new Promise((resolve) => (loaded = resolve));
  admit(environment.socket);
  await conversation.toggleStreaming();
  assert.equal(conversation.state.streaming, true);
  assert.equal(conversation.state.detector, "energy");
  const silero = { ...new EnergyDetector(), kind: "silero" } as unknown as Detector;
  silero.accept = async () => ({ events: ["candidate", "start"], voiced: true });
  silero.reset = () => {};
  loaded(silero);
  await environment.audio.speak(NOISE, 1);
  assert.equal(conversation.state.detector, "silero");
  assert.equal(environment.socket.of("vad_speech_start").length, 1);
});

test("a detector that cannot be loaded is replaced, and the user told", async () => {
  const warn = mock.method(console, "warn", () => {});
  const { environment, conversation } = setUp({ vadAssets: "/vad/" });
  environment.loadDetector = () => Promise.reject(new Error("404"));
  admit(environment.socket);
  await conversation.toggleStreaming();
  await settle();
  assert.equal(conversation.state.streaming, true);
  assert.equal(conversation.state.detector, "energy");
  assert.deepEqual(conversation.state.problems.map(({ code }) => code), ["detector-failed"]);
  warn.mock.restore();
});

test("a denoiser that cannot be loaded is done without, with a line that says so", async () => {
  const warn = mock.method(console, "warn", () => {});
  const { environment, conversation } = setUp({ vadAssets: "/vad/", denoiser: "/d.onnx" });
  admit(environment.socket);
  await conversation.toggleStreaming();
  await settle();
  assert.equal(conversation.state.denoising, false);
  assert.equal(conversation.state.messages.at(-1)?.kind, "notice");
  warn.mock.restore();
});

test("models are given back at the end", async () => {
  const { environment, conversation } = setUp({ vadAssets: "/vad/" });
  const detector = new EnergyDetector();
  const close = mock.method(detector, "close");
  environment.loadDetector = async () => detector;
  admit(environment.socket);
  await conversation.toggleStreaming();
  await settle();
  conversation.close();
  assert.equal(close.mock.callCount(), 1);
});

test("a denoiser that fails in the middle is no longer shown as working", async () => {
  const warn = mock.method(console, "warn", () => {});
  const { environment, conversation } = setUp({ vadAssets: "/vad/", denoiser: "/d.onnx" });
  const denoise = async () => {
    throw new Error("broken");
  };
  environment.loadDenoiser = async () => ({ denoise, reset() {}, close() {} });
  admit(environment.socket);
  await conversation.toggleStreaming();
  await settle();
  assert.equal(conversation.state.denoising, true);
  await environment.audio.speak(NOISE, 1);
  assert.equal(conversation.state.denoising, false);
  warn.mock.restore();
});

test("models that arrive after the end are given back", async () => {
  const { environment, conversation } = setUp({ vadAssets: "/vad/", denoiser: "/d.onnx" });
  const closed: string[] = [];
  const detector = new EnergyDetector();
  detector.close = () => closed.push("detector");
  const denoise = async (frame: Float32Array) => frame;
  const close = () => closed.push("denoiser");
  let loaded = () => {};
  environment.loadDetector = () => new Promise((resolve) => (loaded = () => resolve(detector)));
  environment.loadDenoiser = async () => ({ denoise, reset() {}, close });
  admit(environment.socket);
  await conversation.toggleStreaming();
  conversation.close();
  loaded();
  await settle();
  assert.deepEqual(closed, ["detector", "denoiser"]);
});

// --- the connection ------------------------------------------------------------------------------

test("after a loss it goes on by itself: a new session, the microphone still on", async () => {
  const { environment, conversation, clock, audio, socket } = await started();
  heard(socket, "tell me a story", 1);
  reply(socket, 1, "Once upon a time", [1, 2, 3]);
  audio.output.play(150);
  socket.end();
  assert.equal(conversation.state.connection, "waiting");
  assert.equal(conversation.state.streaming, true);
  assert.equal(conversation.state.streamState, "idle");
  assert.equal(conversation.state.playback, "idle");
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.equal(conversation.state.currentSessionId, "s2");
  assert.equal(environment.socket.of("conversation_start").length, 1);
  await audio.speak(NOISE, 2);
  assert.equal(environment.socket.frames.length, 2);
  assert.equal(environment.socket.of("tts_chunk_played").length, 0);
  assert.equal(conversation.state.messages[1]?.interrupted, true);
});

test("a turn of the new session does not overwrite one of the old", async () => {
  const { environment, conversation, clock, socket } = await started();
  heard(socket, "old", 1);
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  heard(environment.socket, "new", 1);
  const said = conversation.state.messages.filter(({ role }) => role === "user");
  assert.deepEqual(said.map(({ content }) => content), ["old", "new"]);
});

test("many failed attempts are one line", async () => {
  const { environment, conversation, clock } = setUp();
  for (let i = 0; i < 5; i++) {
    environment.socket.end();
    clock.advance(20_000);
  }
  assert.deepEqual(conversation.state.problems.map(({ code }) => code), ["connection-refused"]);
  assert.equal(conversation.state.messages.length, 1);
});

test("a loss is one line however often it cannot be mended, and the next one another", async () => {
  const { environment, conversation } = await started();
  for (const session of ["s2", "s3"]) {
    for (let i = 0; i < 3; i++) {
      environment.socket.end();
      environment.events?.online();
    }
    admit(environment.socket, session);
  }
  const codes = conversation.state.messages.map(({ problem }) => problem?.code);
  assert.deepEqual(codes, ["connection-lost", "connection-lost"]);
});

test("voice and speed go with the user into the next session", async () => {
  const { environment, conversation, clock, socket } = await started();
  conversation.changeVoice("alice");
  conversation.changeTTSSpeed(7);
  assert.equal(socket.of("change_tts_speed")[0]?.speed, 1.5);
  socket.end();
  clock.advance(500);
  admit(environment.socket);
  assert.equal(environment.socket.of("change_voice")[0]?.voice_name, "alice");
  assert.equal(environment.socket.of("change_tts_speed")[0]?.speed, 1.5);
});

test("a speed that was asked for in words is kept like one that was chosen", async () => {
  const { environment, conversation, clock, socket } = await started();
  socket.receive({ action: "speed_changed", data: { speed: 1.2 } });
  assert.equal(conversation.state.settings.speed, 1.2);
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.equal(environment.socket.of("change_tts_speed")[0]?.speed, 1.2);
});

test("the server's own voice can be chosen again: from the next session on", async () => {
  const { environment, conversation, clock, socket } = await started();
  conversation.changeVoice("alice");
  socket.receive({ action: "voice_changed", data: { name: "alice" } });
  conversation.changeVoice("");
  assert.equal(conversation.state.settings.voice, "");
  assert.equal(conversation.state.currentVoiceName, "alice");
  assert.equal(socket.of("change_voice").length, 1);
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.equal(conversation.state.currentVoiceName, null);
  assert.deepEqual(environment.socket.of("change_voice"), []);
});

const refused = (what: string) =>
  ({ action: "error", data: `No such ${what}.`, error_type: `${what}_not_changed` }) as const;

test("a voice or a speed that is refused is not asked for again", async () => {
  const settings = { voice: "of another server", speed: 1.3 };
  const { environment, conversation, clock, socket } = await started({ settings });
  socket.receive(refused("voice"));
  socket.receive(refused("speed"));
  assert.equal(conversation.state.settings.voice, "");
  assert.equal(conversation.state.settings.speed, 1);
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.deepEqual(environment.socket.of("change_voice"), []);
  assert.deepEqual(environment.socket.of("change_tts_speed"), []);
});

test("a refusal leaves the voice and the speed that were there", async () => {
  const { conversation, socket } = await started();
  socket.receive({ action: "voice_changed", data: { name: "alice" } });
  socket.receive({ action: "speed_changed", data: { speed: 1.2 } });
  conversation.changeVoice("bob");
  conversation.changeTTSSpeed(1.5);
  socket.receive(refused("voice"));
  socket.receive(refused("speed"));
  assert.equal(conversation.state.settings.voice, "alice");
  assert.equal(conversation.state.settings.speed, 1.2);
});

const speed = (to: number) => ({ action: "speed_changed", data: { speed: to } }) as const;
const voice = (name: string) => ({ action: "voice_changed", data: { name } }) as const;

test("a confirmation that comes late undoes no newer choice", async () => {
  const { conversation, socket } = await started();
  const settings = () => conversation.state.settings;
  for (const to of [1.1, 1.2, 1.3]) conversation.changeTTSSpeed(to);
  for (const to of [1.1, 1.2, 1.3]) {
    socket.receive(speed(to));
    assert.equal(settings().speed, 1.3);
  }
  conversation.changeVoice("alice");
  conversation.changeVoice("");
  socket.receive(voice("alice"));
  assert.equal(settings().voice, "");
  assert.equal(conversation.state.currentVoiceName, "alice");
});

test("after the last confirmation a change in words counts again", async () => {
  const { conversation, socket } = await started();
  conversation.changeTTSSpeed(1.1);
  socket.receive(speed(1.1));
  socket.receive(speed(1.4));
  assert.equal(conversation.state.settings.speed, 1.4);
});

test("what the server makes of the last choice is what is kept", async () => {
  const { conversation, socket } = await started();
  conversation.changeTTSSpeed(1.5);
  socket.receive(speed(1.3));
  assert.equal(conversation.state.settings.speed, 1.3);
});

test("a refusal that comes late undoes no newer choice", async () => {
  const { conversation, socket } = await started();
  const settings = () => conversation.state.settings;
  conversation.changeVoice("nobody");
  conversation.changeVoice("alice");
  socket.receive(refused("voice"));
  assert.equal(settings().voice, "alice");
  socket.receive(voice("alice"));
  conversation.changeVoice("nobody");
  conversation.changeVoice("");
  socket.receive(refused("voice"));
  assert.equal(settings().voice, "");
  socket.receive(refused("voice")); // what the agent asked for
  assert.equal(settings().voice, "");
});

test("a session that is lost owes no answer", async () => {
  const { environment, conversation, clock, socket } = await started();
  conversation.changeTTSSpeed(1.1);
  conversation.changeTTSSpeed(1);
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  environment.socket.receive(speed(1.4)); // in words
  assert.equal(conversation.state.settings.speed, 1.4);
});

test("what is no number is no speed and no volume", async () => {
  const { conversation, socket } = await started();
  assert.throws(() => conversation.changeTTSSpeed(NaN), RangeError);
  assert.throws(() => conversation.setVolume(NaN), RangeError);
  assert.throws(() => conversation.changeTTSSpeed("fast" as never), RangeError);
  assert.throws(() => conversation.setVolume(undefined as never), RangeError);
  assert.deepEqual(socket.of("change_tts_speed"), []);
  const { speed, volume } = conversation.state.settings;
  assert.deepEqual([speed, volume], [1, 1]);
});

test("settings of the last visit are used in this one", async () => {
  const settings = { voice: "bob", inputDevice: "mic2", volume: 0.5 };
  const { conversation, audio, socket } = await started({ settings });
  assert.equal(socket.of("change_voice")[0]?.voice_name, "bob");
  assert.equal(audio.microphones[0]?.deviceId, "mic2");
  assert.equal(audio.output.volume, 0.5);
  assert.equal(conversation.state.settings.speed, 1);
});

test("a server that ends an idle session is not called until the user starts again", async () => {
  const { environment, conversation, clock, socket } = await started();
  socket.end(1000, "idle");
  clock.advance(60_000);
  assert.equal(environment.sockets.length, 1);
  assert.equal(conversation.state.connection, "closed");
  assert.equal(conversation.state.streaming, false);
  const [problem] = conversation.state.problems;
  assert.equal(problem?.code, "session-ended");
  assert.equal(problem?.reason, "idle");
  assert.deepEqual(conversation.state.messages.map((message) => message.problem), [problem]);
  const starting = conversation.toggleStreaming();
  assert.equal(environment.sockets.length, 2);
  admit(environment.socket, "s2");
  await starting;
  assert.equal(conversation.state.streaming, true);
});

function queued(socket: FakeSocket): void {
  socket.open();
  socket.receive({ action: "queue_status", position: 2, limit: 1, active: 1 });
}

test("the queue is shown, and nothing is sent into it", async () => {
  const { environment, conversation } = setUp();
  const { socket, audio } = environment;
  queued(socket);
  socket.receive({ action: "queue_status", position: 2, limit: 1, active: 1 });
  assert.equal(conversation.state.queued, true);
  assert.equal(conversation.state.queuePosition, 2);
  assert.equal(conversation.state.loading, true);
  assert.equal(conversation.state.messages.length, 1);
  await conversation.toggleStreaming();
  await audio.speak(SPEECH, 2);
  conversation.toggleMicMute();
  conversation.toggleMicMute();
  conversation.changeVoice("alice");
  await conversation.toggleStreaming();
  assert.deepEqual(socket.sent, []);
});

test("who starts in the queue is heard when the session begins", async () => {
  const { environment, conversation } = setUp();
  const { socket, audio } = environment;
  queued(socket);
  await Promise.all([conversation.toggleStreaming(), conversation.toggleStreaming()]);
  assert.equal(audio.microphones.length, 1);
  assert.equal(conversation.state.streaming, true);
  socket.receive({ action: "queue_granted" });
  admit(socket);
  assert.equal(conversation.state.queued, false);
  assert.equal(conversation.state.loading, false);
  assert.equal(socket.of("conversation_start").length, 1);
  await audio.speak(NOISE, 2);
  assert.equal(socket.frames.length, 2);
});

test("who speaks in the queue, heard by nobody, leaves nobody thinking", async () => {
  const { environment, conversation } = setUp({ marks: true });
  const { socket, audio } = environment;
  queued(socket);
  await conversation.toggleStreaming();
  await audio.speak(NOISE, 20);
  await audio.speak(SPEECH, 12);
  assert.equal(conversation.state.userSpeech, "confirmed");
  assert.equal(conversation.state.streamState, "idle");
  await audio.speak(NOISE, 20);
  admit(socket);
  assert.equal(conversation.state.userSpeech, "none");
  assert.equal(conversation.state.streamState, "idle");
});

test("a session that is granted while the microphone is being opened is still loading", async () => {
  const { environment, conversation } = setUp();
  queued(environment.socket);
  const starting = conversation.toggleStreaming();
  admit(environment.socket);
  assert.equal(conversation.state.loading, true);
  await starting;
  assert.equal(conversation.state.loading, false);
  assert.equal(environment.socket.of("conversation_start").length, 1);
});

test("a network that is back, or a page that is seen again, is used at once", async () => {
  const { environment, audio, socket } = await started();
  socket.end();
  environment.events?.online();
  assert.equal(environment.sockets.length, 2);
  environment.events?.visible();
  assert.equal(audio.output.woken, 1);
});

test("a message that makes no sense ends nothing", async () => {
  const report = mock.method(console, "error", () => {});
  const { conversation, socket } = await started();
  for (const text of ['{"action":"update_asr"}', '{"action":"no_such_thing"}', "nonsense"]) {
    socket.receive(text);
  }
  heard(socket, "still here", 1);
  assert.equal(conversation.state.messages.at(-1)?.content, "still here");
  report.mock.restore();
});

// --- what else the server tells ------------------------------------------------------------------

test("thoughts, captions, retrievals, speaker, voice and emotion are in the state", async () => {
  const { conversation, socket } = await started();
  socket.receive({ action: "thought_updated", data: { text: "hm", is_final: false } });
  socket.receive({ action: "thought_updated", data: { text: "hm", is_final: false } });
  const caption = { text: "a dog", is_final: false, reason: "refresh" };
  socket.receive({ action: "caption_updated", data: caption });
  socket.receive({ action: "retrieval_updated", data: { text: "found", is_final: true } });
  socket.receive({ action: "speaker_updated", data: { speaker_id: "a", reason: "recognized" } });
  socket.receive({ action: "voice_changed", data: { name: "bob" } });
  socket.receive({ action: "emotion_changed", data: { name: "glad", vector: [1] } });
  const { state } = conversation;
  assert.equal(state.latestThought, "hm");
  assert.equal(state.thoughts.length, 1);
  assert.equal(state.latestCaption, "a dog");
  assert.equal(state.latestRetrieval, "found");
  assert.equal(state.currentSpeakerId, "a");
  assert.equal(state.currentVoiceName, "bob");
  assert.equal(state.settings.voice, "bob");
  assert.deepEqual(state.emotion, { name: "glad", vector: [1] });
});

test("decisions come with their reasons, tools with their arguments, errors in words", async () => {
  const { conversation, socket } = await started();
  const decision = { rule: "6c", outcome: "answer", evidence: { words: 4 }, turn_id: 1 };
  socket.receive({ action: "decision", data: decision });
  socket.receive({ action: "tool_called", data: { name: "sum", args: { a: 1, b: "x" } } });
  socket.receive({ action: "error", data: "The model is gone." });
  socket.receive({ action: "error", data: "It is back." });
  const { state } = conversation;
  assert.equal(state.decisions[0]?.outcome, "answer");
  assert.equal(state.tools[0]?.text, "Tool call -> sum a=1, b=x");
  assert.deepEqual(state.messages.map(({ content }) => content), [
    "Tool call -> sum a=1, b=x",
    "Error: The model is gone.",
    "Error: It is back.",
  ]);
  assert.deepEqual(state.problems.map(({ message }) => message), [
    "The model is gone.",
    "It is back.",
  ]);
});

test("a cough while the agent thinks leaves it thinking", async () => {
  const { conversation, socket } = await started();
  heard(socket, "what time is it", 1);
  socket.receive({ action: "invalid_asr_result", data: "" });
  assert.equal(conversation.state.streamState, "processing");
  const data = { text: "Ten.", turn_id: 1 };
  socket.receive({ action: "finish_resp", data });
  socket.receive({ action: "invalid_asr_result", data: "" });
  assert.equal(conversation.state.streamState, "idle");
});

test("a server that counts replies apart from turns leaves nobody thinking", async () => {
  const { conversation, audio, socket } = await started();
  for (const [turnId, replyId] of [[3, 1], [5, 2]] as const) {
    heard(socket, "hello", turnId); // it counts coughs, too
    assert.equal(conversation.state.streamState, "processing");
    reply(socket, replyId, "Hello there.", [replyId]);
    socket.receive({ action: "tts_finished", data: {} });
    audio.output.play(500);
    assert.equal(conversation.state.streamState, "idle");
  }
});

test("a reply that goes on after all is no answer to what was accepted since", async () => {
  const { conversation, audio, socket } = await started();
  heard(socket, "hello", 1);
  socket.receive({ action: "update_resp", data: { text: "Hello there.", turn_id: 1 } });
  heard(socket, "what time is it", 2);
  reply(socket, 1, "Hello there.", [1]);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(500);
  assert.equal(conversation.state.streamState, "processing");
});

test("a turn that is given up leaves nobody thinking, and its text not still to come", async () => {
  const { conversation, socket } = await started();
  heard(socket, "what time is it", 1);
  socket.receive({ action: "update_resp", data: { text: "It is", turn_id: 1 } });
  socket.receive({ action: "error", data: "The agent failed." });
  assert.equal(conversation.state.streamState, "processing");
  socket.receive({ action: "invalid_asr_result", data: "", turn_id: 1 });
  assert.equal(conversation.state.streamState, "idle");
  const answer = conversation.state.messages.find(({ role }) => role === "assistant");
  assert.equal(answer?.unspoken, true);
});

test("a turn that was given up before leaves the next one thinking", async () => {
  const { conversation, socket } = await started();
  heard(socket, "what time is it", 2);
  socket.receive({ action: "invalid_asr_result", data: "", turn_id: 1 });
  assert.equal(conversation.state.streamState, "processing");
});

test("each session has its own figures", async () => {
  const { environment, conversation, clock, socket } = await started();
  heard(socket, "what time is it", 1);
  const data = {
    network_latency_ms: 0,
    asr_latency_ms: 80,
    llm_first_token_ms: 100,
    llm_sentence_ms: 250,
    tts_first_chunk_ms: 60,
    e2e_latency_ms: 590,
    turn_id: 1,
  };
  socket.receive({ action: "latency_metrics", data });
  socket.end();
  assert.equal(conversation.state.traces.length, 1);
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.deepEqual(conversation.state.traces, []);
});

test("each session has to recognise its speakers", async () => {
  const { environment, conversation, clock, socket } = await started();
  socket.receive({ action: "speaker_updated", data: { speaker_id: "a", reason: "recognized" } });
  socket.end();
  clock.advance(500);
  admit(environment.socket, "s2");
  assert.equal(conversation.state.currentSpeakerId, null);
});

test("a refined transcript is for simultaneous mode only", async () => {
  for (const simGen of [false, true]) {
    const { conversation, socket } = await started({ simGen });
    heard(socket, "a", 1, false);
    socket.receive({ action: "refine_transcription", data: { text: "a b" } });
    assert.equal(conversation.state.messages[0]?.content, simGen ? "a b" : "a");
  }
});

// --- settings, files, drawings -------------------------------------------------------------------

test("another model is asked for with all that was given", async () => {
  const { conversation, socket } = await started();
  conversation.changeLLMModel("m", "http://x", "key", { a: 1 });
  conversation.changeTTSModel("Espeak", { voice: "en" });
  conversation.changeEmotion("glad", [1, 0]);
  const [llm] = socket.of("change_llm_model");
  assert.equal(llm?.model_name, "m");
  assert.equal(llm?.base_url, "http://x");
  assert.equal(llm?.api_key, "key");
  assert.deepEqual(llm?.extra_body, { a: 1 });
  assert.deepEqual(socket.of("change_tts_model")[0]?.config, { voice: "en" });
  assert.deepEqual(socket.of("change_emotion")[0]?.emotion_vector, [1, 0]);
});

test("a model that was asked for in this session is the one, until it is refused", async () => {
  const { environment, conversation, clock, socket } = await started();
  const models = () => conversation.state.models;
  conversation.changeLLMModel("one");
  conversation.changeTTSModel("Espeak");
  conversation.changeLLMModel("two");
  assert.deepEqual(models(), { tts: "Espeak", llm: "two" });
  socket.receive(refused("model"));
  assert.deepEqual(models(), { tts: "Espeak", llm: "one" });
  socket.receive(refused("model"));
  assert.deepEqual(models(), { tts: "", llm: "one" });
  socket.end();
  assert.deepEqual(models(), { tts: "", llm: "" });
  clock.advance(500);
  admit(environment.socket, "s2");
  environment.socket.receive(refused("model"));
  assert.deepEqual(models(), { tts: "", llm: "" });
});

test("a model that no session was asked for is not shown as the one", () => {
  const { environment, conversation } = setUp();
  conversation.changeLLMModel("two");
  conversation.changeTTSModel("Espeak");
  assert.deepEqual(conversation.state.models, { tts: "", llm: "" });
  admit(environment.socket);
  assert.deepEqual(environment.socket.of("change_llm_model"), []);
});

test("another microphone takes over without a restart", async () => {
  const { conversation, audio, socket } = await started();
  await conversation.selectInput("mic2");
  assert.equal(audio.microphones[0]?.closed, true);
  await audio.speak(NOISE, 1);
  assert.equal(socket.frames.length, 1);
  assert.equal(conversation.state.settings.inputDevice, "mic2");
});

test("of two microphones chosen at once the later one is used", async () => {
  const { conversation, audio, socket } = await started();
  await Promise.all([conversation.selectInput("mic2"), conversation.selectInput("mic3")]);
  assert.deepEqual(audio.microphones.map(({ deviceId, closed }) => [deviceId, closed]), [
    ["", true],
    ["mic2", true],
    ["mic3", false],
  ]);
  await audio.speak(NOISE, 1);
  assert.equal(socket.frames.length, 1);
});

test("a microphone that cannot be opened leaves the old one", async () => {
  const { conversation, audio } = await started();
  audio.failure = new AudioFailure("microphone-failed", "It is broken.");
  await conversation.selectInput("mic2");
  assert.equal(audio.microphones[0]?.closed, false);
  assert.equal(conversation.state.streaming, true);
  assert.equal(conversation.state.settings.inputDevice, "");
  assert.equal(conversation.state.problems.at(-1)?.code, "microphone-failed");
  audio.failure = null;
  await conversation.selectInput("mic3");
  assert.equal(conversation.state.problems.at(-1)?.solved, true);
});

test("a loudspeaker that cannot be used is told, and the old one goes on", async () => {
  const { conversation, audio } = await started();
  await conversation.selectOutput("speaker1");
  audio.output.failure = new AudioFailure("loudspeaker-failed", "It is not there.");
  await conversation.selectOutput("speaker2");
  assert.equal(conversation.state.settings.outputDevice, "speaker1");
  const [problem] = conversation.state.problems;
  assert.equal(problem?.code, "loudspeaker-failed");
  audio.output.failure = null;
  await conversation.selectOutput("speaker3");
  assert.equal(conversation.state.problems[0]?.solved, true);
});

test("a device that fails does not take back the one that was chosen since", async () => {
  const { conversation, audio } = await started();
  audio.failure = new AudioFailure("microphone-failed", "It is broken.");
  const failing = conversation.selectInput("mic2");
  audio.failure = null;
  await Promise.all([failing, conversation.selectInput("mic3")]);
  assert.equal(conversation.state.settings.inputDevice, "mic3");
});

/** Microphones are opened, or fail, when the test says so: by their ids. */
function asking({ audio }: FakeEnvironment) {
  const open = audio.openMicrophone.bind(audio);
  const answers = new Map<string, (failure?: AudioFailure) => void>();
  audio.openMicrophone = async (id, listener) => {
    const failure = await new Promise<AudioFailure | undefined>((answer) =>
      answers.set(id, answer),
    );
    if (failure) throw failure;
    return open(id, listener);
  };
  return (id: string, failure?: AudioFailure) => answers.get(id)?.(failure);
}

const broken = new AudioFailure("microphone-failed", "It is broken.");
const open = (audio: FakeEnvironment["audio"]) =>
  audio.microphones.filter(({ closed }) => !closed).map(({ deviceId }) => deviceId);

test("what is chosen while the microphone is being opened is used from the start", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  const answer = asking(environment);
  const starting = conversation.toggleStreaming();
  await settle();
  await conversation.selectInput("mic2");
  await conversation.selectOutput("speaker2");
  conversation.setVolume(0.3);
  answer("");
  await starting;
  answer("mic2");
  await settle();
  const { output } = environment.audio;
  assert.deepEqual([output.volume, output.device], [0.3, "speaker2"]);
  assert.deepEqual(open(environment.audio), ["mic2"]);
});

test("when the last of two choices fails, what is set is what is used", async () => {
  const { environment, conversation, audio } = await started();
  const answer = asking(environment);
  const choices = ["mic2", "mic3"].map((id) => conversation.selectInput(id));
  answer("mic3", broken);
  answer("mic2");
  await Promise.all(choices);
  assert.equal(conversation.state.settings.inputDevice, "");
  assert.deepEqual(open(audio), [""]);
  assert.deepEqual(conversation.state.problems.map(({ code }) => code), ["microphone-failed"]);
});

test("when both of two loudspeakers fail, the one in use is set", async () => {
  const { conversation, audio } = await started();
  audio.output.failure = new AudioFailure("loudspeaker-failed", "It is not there.");
  await Promise.all(["speaker1", "speaker2"].map((id) => conversation.selectOutput(id)));
  assert.equal(conversation.state.settings.outputDevice, "");
  assert.equal(conversation.state.problems.length, 1);
});

test("a microphone that fails when it was given up for another is no problem", async () => {
  const { environment, conversation, audio } = await started();
  const answer = asking(environment);
  const choices = ["mic2", "mic3"].map((id) => conversation.selectInput(id));
  answer("mic3");
  await settle();
  answer("mic2", broken);
  await Promise.all(choices);
  assert.deepEqual(open(audio), ["mic3"]);
  assert.deepEqual(conversation.state.problems, []);
});

test("a start that fails when it was given up is no problem of the next", async () => {
  const { environment, conversation } = setUp();
  admit(environment.socket);
  const answer = asking(environment);
  const starting = conversation.toggleStreaming();
  await settle();
  conversation.restart();
  answer("", broken);
  await starting;
  assert.deepEqual(conversation.state.problems, []);
});

test("an unplugged microphone is replaced by the browser's choice, or ends the call", async () => {
  const { conversation, audio } = await started();
  audio.microphones[0]?.listener.ended();
  await settle();
  assert.equal(audio.microphones[1]?.deviceId, "");
  assert.equal(conversation.state.streaming, true);
  audio.failure = new AudioFailure("microphone-missing", "There is none.");
  audio.microphones[1]?.listener.ended();
  await settle();
  assert.equal(conversation.state.streaming, false);
  assert.equal(conversation.state.problems.at(-1)?.code, "microphone-missing");
});

test("devices are listed, and again when one comes or goes", async () => {
  const { environment, conversation } = setUp();
  environment.audio.known = [{ id: "a", label: "A", kind: "input" }];
  environment.events?.devicesChanged();
  await settle();
  assert.deepEqual(conversation.state.devices, environment.audio.known);
});

test("volume and loudspeaker are changed while it plays", async () => {
  const { conversation, audio } = await started();
  conversation.setVolume(2);
  await conversation.selectOutput("speaker2");
  assert.equal(audio.output.volume, 1);
  assert.equal(audio.output.device, "speaker2");
});

test("a file goes to the API beside the socket, in the name of the session", async () => {
  const { environment, conversation } = await started();
  const uploading = conversation.uploadFile(new File(["text"], "a.md"));
  assert.equal(conversation.state.uploading, true);
  assert.equal(conversation.state.streamState, "processing");
  await uploading;
  const [post] = environment.posts;
  assert.equal(post?.url, "http://server/api/upload");
  assert.equal(post?.form.get("session_id"), "s1");
  const file = post?.form.get("file") as File;
  assert.equal(file.name, "a.md");
  assert.equal(file.type, "text/plain");
  assert.equal(conversation.state.uploading, false);
});

test("a refused file is refused in the server's words", async () => {
  const { environment, conversation } = await started();
  environment.respond = () => Response.json({ detail: "Only text files." }, { status: 400 });
  await assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")), /Only text files/);
  assert.equal(conversation.state.streamState, "idle");
  assert.equal(conversation.state.uploading, false);
  assert.equal(conversation.state.problems.at(-1)?.code, "upload-failed");
});

test("of two files the second is still being sent when the first is refused", async () => {
  const { environment, conversation } = await started();
  const answers: ((response: Response) => void)[] = [];
  environment.respond = () => new Promise((resolve) => answers.push(resolve));
  const first = assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")));
  const second = conversation.uploadFile(new File(["text"], "a.md"));
  await settle();
  answers[0]?.(Response.json({ detail: "Only text files." }, { status: 400 }));
  await first;
  assert.equal(conversation.state.uploading, true);
  answers[1]?.(Response.json({ status: "ok" }));
  await second;
  assert.equal(conversation.state.uploading, false);
});

test("the next file takes the last one's refusal away", async () => {
  const { environment, conversation } = await started();
  environment.respond = () => Response.json({ detail: "Only text files." }, { status: 400 });
  await assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")));
  environment.respond = () => Response.json({ status: "ok" });
  const uploading = conversation.uploadFile(new File(["text"], "a.md"));
  assert.equal(conversation.state.problems.at(-1)?.solved, true);
  await uploading;
});

test("a file in mid-reply leaves the turn to the reply until that is over", async () => {
  const { environment, conversation, audio, socket } = await started();
  reply(socket, 1, "A story.", [1, 2, 3]);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(100);
  environment.respond = () => Response.json({ detail: "Only text files." }, { status: 400 });
  await assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")));
  assert.equal(conversation.state.streamState, "speaking");
  environment.respond = () => Response.json({ status: "ok" });
  await conversation.uploadFile(new File(["text"], "a.md"));
  assert.equal(conversation.state.streamState, "speaking");
  audio.output.play(1000);
  assert.equal(conversation.state.streamState, "processing");
  reply(socket, 2, "It has arrived.", [4]);
  socket.receive({ action: "tts_finished", data: {} });
  audio.output.play(1000);
  assert.equal(conversation.state.streamState, "idle");
});

test("a text that the server does not keep leaves nobody thinking", async () => {
  const { conversation, socket } = await started();
  await conversation.uploadFile(new File([" "], "a.txt"));
  socket.receive({ action: "error", data: "It is empty.", error_type: "text_refused" });
  assert.equal(conversation.state.streamState, "idle");
  socket.receive({ action: "invalid_asr_result", data: "" });
  assert.equal(conversation.state.streamState, "idle");
});

test("a file that is refused leaves the answer that is being thought of", async () => {
  const { environment, conversation, socket } = await started();
  environment.respond = () => Response.json({ detail: "Only text files." }, { status: 400 });
  await assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")));
  assert.equal(conversation.state.streamState, "idle");
  heard(socket, "what time is it", 1);
  await assert.rejects(conversation.uploadFile(new File(["x"], "a.pdf")));
  assert.equal(conversation.state.streamState, "processing");
});

test("a file without a session, or a server without words, is refused too", async () => {
  const { environment, conversation } = setUp();
  const file = new File(["x"], "a.txt");
  await assert.rejects(conversation.uploadFile(file), /no session/);
  admit(environment.socket);
  environment.respond = () => new Response("<html>", { status: 502 });
  await assert.rejects(conversation.uploadFile(file), /refused the file \(502\)/);
  environment.respond = () => Promise.reject(new TypeError("network"));
  await assert.rejects(conversation.uploadFile(file), /could not be sent/);
  const codes = conversation.state.problems.map(({ code }) => code);
  assert.deepEqual(codes, ["upload-unsent", "upload-unsent", "upload-unsent"]);
});

test("drawings get the samples when they sound; one that fails harms no other", async () => {
  const report = mock.method(console, "error", () => {});
  const { conversation, audio, socket } = await started();
  const got: number[] = [];
  conversation.onNewAudioOutput(() => {
    throw new Error("the page's own");
  });
  const leave = conversation.onNewAudioOutput((samples, rate) => got.push(samples.length, rate));
  reply(socket, 1, "Ten.", [1]);
  assert.deepEqual(got, []);
  audio.output.play(100);
  assert.deepEqual(got, [4800, 48_000]);
  leave();
  reply(socket, 2, "Ten.", [2]);
  audio.output.play(300);
  assert.equal(got.length, 2);
  report.mock.restore();
});
