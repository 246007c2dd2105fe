// src/wire.ts
var e = 16e3;
// src/worklets.ts
function t() {
	let e = .003, t = Math.exp(-4 / (e * sampleRate));
	class n extends AudioWorkletProcessor {
		chunks = [];
		offset = 0;
		paused = !1;
		ended = !1;
		gain = 1;
		target = 1;
		step = 0;
		resumeStep = 1 / (e * sampleRate);
		fade = 1;
		last = 0;
		frame = 0;
		next = 0;
		constructor() {
			super(), this.port.onmessage = ({ data: e }) => this.obey(e);
		}
		obey(e) {
			e.type === "play" ? this.chunks.push(e) : e.type === "stop" ? this.halt() : e.type === "pause" ? this.pause() : e.type === "resume" ? this.resume() : e.type === "gain" ? this.ramp(e.value, e.seconds) : this.ended = !0;
		}
		halt() {
			this.chunks = [], this.offset = 0, this.paused = !1, this.fade = this.gain = this.target = 1;
		}
		pause() {
			this.paused || (this.paused = !0, this.tell({
				type: "paused",
				time: this.next / sampleRate
			}));
		}
		resume() {
			this.paused && this.offset > 0 && (this.fade = 0), this.paused = !1;
		}
		ramp(e, t) {
			this.target = e, this.step = (e - this.gain) / Math.max(1, t * sampleRate);
		}
		tell(e) {
			this.port.postMessage(e);
		}
		process(e, t) {
			let n = t[0] ?? [], r = n[0];
			if (r) {
				this.frame = Math.max(this.next, currentFrame), this.next = this.frame + r.length, this.decay(r, this.paused ? 0 : this.fill(r));
				for (let e of n.slice(1)) e.set(r);
			}
			return !this.ended;
		}
		fill(e) {
			let t = 0;
			for (let n = this.chunks[0]; n && t < e.length; n = this.chunks[0]) {
				let { samples: r, index: i, reply: a } = n;
				this.offset === 0 && this.tell({
					type: "began",
					index: i,
					reply: a,
					time: this.at(t)
				});
				let o = Math.min(e.length - t, r.length - this.offset);
				for (let n = 0; n < o; n++) e[t + n] = r[this.offset + n] * this.level();
				if (t += o, this.offset += o, this.offset < r.length) break;
				this.offset = 0, this.chunks.shift(), this.tell({
					type: "played",
					index: i,
					reply: a,
					time: this.at(t)
				}), this.chunks.length || this.tell({
					type: "dry",
					reply: a,
					time: this.at(t)
				});
			}
			return t && (this.last = e[t - 1]), t;
		}
		at(e) {
			return (this.frame + e) / sampleRate;
		}
		level() {
			return this.gain !== this.target && (this.gain += this.step, (this.step === 0 || (this.target - this.gain) / this.step <= 0) && (this.gain = this.target)), this.fade < 1 && (this.fade = Math.min(1, this.fade + this.resumeStep)), this.gain * this.fade;
		}
		decay(e, n) {
			for (let r = n; r < e.length; r++) this.last *= t, Math.abs(this.last) < 1e-5 && (this.last = 0), e[r] = this.last;
		}
	}
	registerProcessor("xtalk-player", n);
}
function n() {
	class e extends AudioWorkletProcessor {
		piece = /* @__PURE__ */ new Float32Array(512);
		filled = 0;
		ended = !1;
		constructor() {
			super(), this.port.onmessage = () => {
				this.ended = !0;
			};
		}
		process(e) {
			let t = e[0]?.[0];
			return t && this.add(t), !this.ended;
		}
		add(e) {
			let t = e;
			for (; t.length;) {
				let e = t.subarray(0, 512 - this.filled);
				this.piece.set(e, this.filled), this.filled += e.length, t = t.subarray(e.length), this.filled === 512 && this.hand();
			}
		}
		hand() {
			this.port.postMessage(this.piece, [this.piece.buffer]), this.piece = /* @__PURE__ */ new Float32Array(512), this.filled = 0;
		}
	}
	registerProcessor("xtalk-capture", e);
}
function r() {
	return `(${t})();\n(${n})();\n`;
}
// src/audio.ts
var i = class extends Error {
	code;
	constructor(e, t, n) {
		super(t, { cause: n }), this.code = e;
	}
};
function a(e, t) {
	return {
		openOutput: (n) => s(e, n, t),
		openMicrophone: (e, n) => l(e, n, t),
		devices: p
	};
}
function o() {
	if (!globalThis.isSecureContext) throw new i("insecure", "The browser gives no microphone to a page that came over plain HTTP from another machine.");
}
async function s(e, t, n) {
	o();
	let r = new AudioContext({
		sampleRate: 48e3,
		latencyHint: "interactive"
	});
	try {
		await f(r, n);
		let i = new AudioWorkletNode(r, "xtalk-player", {
			numberOfInputs: 0,
			outputChannelCount: [1]
		}), a = new GainNode(r);
		i.connect(a).connect(r.destination);
		let o = new c(r, i, a, e);
		return t && await o.setDevice(t).catch(() => {}), o.wake(), o;
	} catch (e) {
		throw r.close(), new i("audio-failed", "The loudspeaker could not be opened.", e);
	}
}
var c = class {
	onevent = () => {};
	#e;
	#t;
	#n;
	#r;
	constructor(e, t, n, r) {
		this.#e = e, this.#t = t, this.#n = n, this.#r = r, t.port.onmessage = ({ data: e }) => this.onevent(e);
	}
	get rate() {
		return this.#e.sampleRate;
	}
	send(e) {
		this.#t.port.postMessage(e);
	}
	audibleAt(e) {
		let { contextTime: t, performanceTime: n } = this.#e.getOutputTimestamp();
		if (t && n) return n + (e - t) * 1e3;
		let r = this.#e.outputLatency || this.#e.baseLatency || 0;
		return this.#r.now() + (e - this.#e.currentTime + r) * 1e3;
	}
	setVolume(e) {
		this.#n.gain.setTargetAtTime(e, this.#e.currentTime, .01);
	}
	async setDevice(e) {
		let t = this.#e;
		try {
			await t.setSinkId?.(e);
		} catch (e) {
			throw new i("loudspeaker-failed", "This loudspeaker cannot be used; the one before goes on.", e);
		}
	}
	wake() {
		this.#e.state !== "closed" && this.#e.resume().catch(() => {});
	}
	close() {
		this.send({ type: "end" }), this.#t.port.onmessage = null, this.#t.disconnect(), this.#e.close();
	}
};
async function l(e, t, n) {
	o();
	let r = await u(e), a = new AudioContext({ latencyHint: "interactive" }), s = r.getAudioTracks()[0], c = () => {
		for (let e of r.getTracks()) e.stop();
		a.close();
	};
	try {
		await f(a, n);
		let e = new MediaStreamAudioSourceNode(a, { mediaStream: r }), i = new AudioWorkletNode(a, "xtalk-capture", {
			numberOfOutputs: 0,
			channelCount: 1,
			channelCountMode: "explicit"
		});
		i.port.onmessage = ({ data: e }) => t.samples(e, a.sampleRate), e.connect(i), s && (s.onended = () => t.ended());
		let o = () => {
			a.state !== "closed" && a.resume().catch(() => {});
		};
		return o(), {
			deviceId: s?.getSettings().deviceId ?? "",
			wake: o,
			close() {
				s && (s.onended = null), i.port.onmessage = null, i.port.postMessage("end"), e.disconnect(), c();
			}
		};
	} catch (e) {
		throw c(), new i("microphone-failed", "The microphone could not be opened.", e);
	}
}
async function u(e) {
	try {
		return await navigator.mediaDevices.getUserMedia({ audio: {
			channelCount: 1,
			echoCancellation: !0,
			autoGainControl: !0,
			noiseSuppression: !1,
			...e && { deviceId: { ideal: e } }
		} });
	} catch (e) {
		throw d(e);
	}
}
function d(e) {
	let t = e instanceof DOMException ? e.name : "";
	return t === "NotAllowedError" || t === "SecurityError" ? new i("microphone-denied", "The browser was not allowed to use the microphone.", e) : t === "NotFoundError" || t === "OverconstrainedError" ? new i("microphone-missing", "There is no microphone.", e) : new i("microphone-failed", "The microphone could not be opened.", e);
}
async function f(e, t) {
	if (t) return e.audioWorklet.addModule(t);
	let n = URL.createObjectURL(new Blob([r()], { type: "text/javascript" }));
	try {
		await e.audioWorklet.addModule(n);
	} finally {
		URL.revokeObjectURL(n);
	}
}
async function p() {
	return (await navigator.mediaDevices?.enumerateDevices() ?? []).filter(({ kind: e, deviceId: t }) => e !== "videoinput" && t !== "").map(({ deviceId: e, label: t, kind: n }) => ({
		id: e,
		label: t,
		kind: n === "audioinput" ? "input" : "output"
	}));
}
// src/clock.ts
var m = {
	now: () => performance.now(),
	wall: () => Date.now(),
	after(e, t) {
		let n = setTimeout(t, e);
		return () => clearTimeout(n);
	}
}, h = 16, g = 512, _ = 8.6, v = class {
	#e;
	#t;
	#n;
	#r;
	#i;
	#a;
	#o = 0;
	#s = 0;
	constructor(e, t) {
		this.#e = e, this.#t = t, this.#n = Math.min(1, t / e) * (e === t ? 1 : .95), this.#r = Math.ceil(h / this.#n), this.#i = new Float32Array(this.#r), this.#a = -this.#r;
	}
	push(e) {
		return this.#e === this.#t ? Float32Array.from(e) : (this.#c(e), this.#o += e.length, this.#l(Math.floor((this.#o - this.#r) * this.#t / this.#e)));
	}
	flush() {
		if (this.#e === this.#t) return /* @__PURE__ */ new Float32Array();
		this.#c(new Float32Array(2 * this.#r));
		let e = this.#l(Math.ceil(this.#o * this.#t / this.#e));
		return this.reset(), e;
	}
	reset() {
		this.#i = new Float32Array(this.#r), this.#a = -this.#r, this.#o = 0, this.#s = 0;
	}
	#c(e) {
		let t = Math.floor(this.#s * this.#e / this.#t) - this.#r, n = this.#i.subarray(Math.max(0, t - this.#a));
		this.#a += this.#i.length - n.length, this.#i = new Float32Array(n.length + e.length), this.#i.set(n), this.#i.set(e, n.length);
	}
	#l(e) {
		let t = new Float32Array(Math.max(0, e - this.#s));
		for (let e = 0; e < t.length; e++) t[e] = this.#u((this.#s + e) * this.#e / this.#t);
		return this.#s += t.length, t;
	}
	#u(e) {
		let t = Math.ceil(e - this.#r), n = Math.floor(e + this.#r), r = 0;
		for (let i = t; i <= n; i++) r += (this.#i[i - this.#a] ?? 0) * ee(Math.abs(i - e) * this.#n);
		return r * this.#n;
	}
};
function ee(e) {
	let t = e * g, n = Math.floor(t);
	if (n >= y.length - 1) return 0;
	let r = y[n];
	return r + (t - n) * (y[n + 1] - r);
}
var y = Float64Array.from({ length: 8193 }, (e, t) => {
	let n = t / g, r = n === 0 ? 1 : Math.sin(Math.PI * n) / (Math.PI * n), i = n / h;
	return r * b(_ * Math.sqrt(1 - i * i)) / b(_);
});
function b(e) {
	let t = 1;
	for (let n = 1, r = 1; r > 1e-12 * t; n++) r *= (e / (2 * n)) ** 2, t += r;
	return t;
}
var x = 512e3 / e, te = class {
	#e = null;
	#t = 0;
	#n = /* @__PURE__ */ new Float32Array(512);
	#r = 0;
	push(t, n) {
		n !== this.#t && (this.#t = n, this.#e = new v(n, e));
		let r = [], i = this.#e?.push(t) ?? t;
		for (; i.length;) {
			let e = i.subarray(0, 512 - this.#r);
			this.#n.set(e, this.#r), this.#r += e.length, i = i.subarray(e.length), this.#r === 512 && r.push(this.#i());
		}
		return r;
	}
	reset() {
		this.#e?.reset(), this.#r = 0;
	}
	#i() {
		let e = this.#n;
		return this.#n = /* @__PURE__ */ new Float32Array(512), this.#r = 0, e;
	}
};
// src/runtime.ts
async function S(e) {
	let t = await C("ort", `${e}ort.wasm.min.js`);
	return t.env.wasm.wasmPaths = e, t.env.wasm.numThreads = 1, t;
}
async function ne(e) {
	return await S(e), C("vad", `${e}bundle.min.js`);
}
async function C(e, t) {
	let n = () => globalThis[e];
	n() || await re(t);
	let r = n();
	if (!r) throw Error(`${t} should define "${e}", and did not`);
	return r;
}
function re(e) {
	return new Promise((t, n) => {
		let r = document.createElement("script");
		r.src = e, r.onload = () => t(), r.onerror = () => n(/* @__PURE__ */ Error(`${e} could not be loaded`)), document.head.append(r);
	});
}
// src/denoise.ts
async function ie(e, t) {
	let n = await S(e);
	return new w(n, await n.InferenceSession.create(t));
}
var w = class {
	#e;
	#t;
	#n = {};
	constructor(e, t) {
		let { inputNames: n, outputNames: r } = t;
		if (n.length !== r.length) throw Error(`the denoiser should give back every state: it takes ${n.join(", ")} and gives ${r.join(", ")}`);
		this.#e = e, this.#t = t, this.reset();
	}
	async denoise(e) {
		let { inputNames: t, outputNames: n } = this.#t, r = new this.#e.Tensor("float32", e, [1, e.length]), i = await this.#t.run({
			[t[0]]: r,
			...this.#n
		});
		for (let [e, r] of t.entries()) e > 0 && (this.#n[r] = i[n[e]]);
		let a = i[n[0]]?.data;
		if (!(a instanceof Float32Array) || a.length !== 512) throw Error("the denoiser should give back 512 samples");
		return a;
	}
	reset() {
		let { inputNames: e, inputMetadata: t } = this.#t, n = e.slice(1).map((e, n) => {
			let r = (t[n + 1]?.shape ?? []).map((e) => typeof e == "number" && e > 0 ? e : 1), i = r.reduce((e, t) => e * t, 1);
			return [e, new this.#e.Tensor("float32", new Float32Array(i), r)];
		});
		this.#n = Object.fromEntries(n);
	}
	close() {
		this.#t.release();
	}
};
// src/pcm.ts
function T(e) {
	let t = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(2 * e.length));
	return e.forEach((e, n) => {
		let r = Math.max(-1, Math.min(1, e));
		t.setInt16(2 * n, Math.round(r < 0 ? r * 32768 : r * 32767), !0);
	}), t.buffer;
}
var ae = class {
	#e = null;
	decode(e) {
		let t = new Uint8Array(e);
		this.#e !== null && (t = Uint8Array.of(this.#e, ...t));
		let n = t.length >> 1;
		this.#e = t.length % 2 ? t[t.length - 1] : null;
		let r = new DataView(t.buffer, t.byteOffset);
		return Float32Array.from({ length: n }, (e, t) => r.getInt16(2 * t, !0) / 32768);
	}
	reset() {
		this.#e = null;
	}
};
function E(e) {
	return e.length === 0 ? 0 : Math.sqrt(e.reduce((e, t) => e + t * t, 0) / e.length);
}
// src/state.ts
var D = [
	"silence",
	"recognition",
	"decision",
	"firstToken",
	"firstSentence",
	"firstAudio",
	"network",
	"playout"
], O = {
	queued: !1,
	queuePosition: null,
	latency: {
		network: null,
		asr: null,
		llmFirstToken: null,
		llmSentence: null,
		ttsFirstChunk: null
	},
	messages: [],
	streaming: !1,
	loading: !1,
	streamState: "idle",
	currentVoiceName: null,
	currentVoicePath: null,
	currentSessionId: null,
	latestThought: null,
	latestCaption: null,
	latestRetrieval: null,
	micMuted: !1,
	currentSpeakerId: null,
	connection: "connecting",
	retryAt: null,
	clockOffset: null,
	roundTrip: null,
	detector: "none",
	denoising: !1,
	inputLevel: 0,
	userSpeech: "none",
	playback: "idle",
	emotion: null,
	models: {
		tts: "",
		llm: ""
	},
	traces: [],
	decisions: [],
	thoughts: [],
	captions: [],
	retrievals: [],
	tools: [],
	problems: [],
	uploading: !1,
	devices: [],
	settings: {
		inputDevice: "",
		outputDevice: "",
		voice: "",
		speed: 1,
		volume: 1
	}
};
function k(e, t) {
	return [...e.slice(-99), t];
}
function oe(e, t) {
	let n = e.map((e) => t === "total" ? e.total : e.stages[t]).filter((e) => e !== null).sort((e, t) => e - t);
	if (n.length === 0) return null;
	let r = (e) => n[Math.ceil(e * n.length) - 1];
	return {
		p50: r(.5),
		p95: r(.95),
		count: n.length
	};
}
function se(e) {
	return {
		silence: e.silence_ms ?? null,
		recognition: Math.max(0, e.asr_latency_ms - (e.decision_ms ?? 0)),
		decision: e.decision_ms ?? null,
		firstToken: e.llm_first_token_ms,
		firstSentence: Math.max(0, e.llm_sentence_ms - e.llm_first_token_ms),
		firstAudio: e.tts_first_chunk_ms,
		network: null,
		playout: null
	};
}
// src/transcript.ts
var ce = /[\p{L}\p{N}]/u, le = class {
	#e;
	#t = [];
	#n = 1;
	#r = 1;
	constructor(e) {
		this.#e = e;
	}
	get messages() {
		return this.#t;
	}
	user(e, t, n) {
		let r = {
			content: e,
			final: n,
			heardChars: e.length
		};
		if (this.#s("user", t, r)) return;
		let i = this.#a("user", t, r), a = this.#o("assistant", t);
		this.#u(i, a < 0 ? this.#t.length : a);
	}
	assistant(e, t, n) {
		let r = this.#o("assistant", t);
		if (r < 0) {
			this.cutOff(t);
			let r = this.#a("assistant", t, {
				content: e,
				final: n
			});
			return this.#u(r, this.#t.length);
		}
		let i = Math.min(this.#t[r].heardChars, e.length);
		this.#c(r, {
			content: e,
			final: n,
			heardChars: i
		});
	}
	info(e, t, n) {
		this.#i({
			content: e,
			kind: t,
			...n && { tool: n }
		});
	}
	problem(e, t, n) {
		this.#i({
			content: e,
			kind: t,
			problem: n
		});
	}
	#i(e) {
		let t = this.#a("info", 0, {
			...e,
			final: !0
		}), n = this.#t.at(-1), r = e.tool && n?.role === "assistant" && !n.final ? 1 : 0;
		this.#u(t, this.#t.length - r);
	}
	heard(e, t) {
		let n = this.#o("assistant", e), r = this.#t[n];
		if (!r) return;
		let i = Math.max(r.heardChars, ue(r.content, t));
		this.#l(n, {
			...r,
			heardChars: i
		});
	}
	silent(e) {
		let t = this.#o("assistant", e), n = this.#t[t];
		if (!n || n.interrupted) return;
		let { content: r, heardChars: i } = n;
		ce.test(r.slice(i)) ? this.#l(t, {
			...n,
			unspoken: !0
		}) : this.#l(t, {
			...n,
			heardChars: r.length
		});
	}
	goesOn(e) {
		let t = this.#o("assistant", e), n = this.#t[t];
		if (!n?.interrupted && !n?.unspoken) return;
		let { interrupted: r, unspoken: i, ...a } = n;
		this.#l(t, a);
	}
	cutOff(e) {
		this.#t = this.#t.map((t) => {
			let { id: n, role: r, turnId: i, content: a, heardChars: o, unspoken: s } = t;
			return n >= this.#r && r === "assistant" && i < e && o < a.length && !s ? {
				...t,
				interrupted: !0
			} : t;
		});
	}
	dismiss() {
		let e = this.#t.findLastIndex(({ role: e }) => e === "user"), t = this.#t[e];
		t && !t.final && t.id >= this.#r && (this.#t = this.#t.filter((e) => e !== t));
	}
	refine(e) {
		let t = ({ id: e, role: t }) => t === "user" && e >= this.#r, n = this.#t.findLast(t), r = {
			content: e,
			heardChars: e.length
		};
		if (!n) return this.#u(this.#a("user", 0, r), this.#t.length);
		this.#t = this.#t.filter((e) => e === n || !t(e)).map((e) => e === n ? {
			...e,
			...r
		} : e);
	}
	newSession() {
		this.cutOff(Infinity), this.#t = this.#t.map((e) => e.final ? e : {
			...e,
			final: !0
		}), this.#r = this.#n;
	}
	clear() {
		this.#t = [];
	}
	#a(e, t, n) {
		let r = this.#e();
		return {
			id: this.#n++,
			role: e,
			turnId: t,
			content: "",
			final: !1,
			heardChars: 0,
			at: r,
			...n
		};
	}
	#o(e, t) {
		return this.#t.findLastIndex((n) => n.role === e && n.turnId === t && n.id >= this.#r);
	}
	#s(e, t, n) {
		let r = this.#o(e, t);
		return r >= 0 && this.#c(r, n), r >= 0;
	}
	#c(e, t) {
		this.#l(e, {
			...this.#t[e],
			...t
		});
	}
	#l(e, t) {
		this.#t = this.#t.with(e, t);
	}
	#u(e, t) {
		this.#t = this.#t.toSpliced(t, 0, e);
	}
};
function ue(e, t) {
	if (t >= e.length) return e.length;
	let n = 0;
	for (let r = t; r > 0 && n < e.length; r--) n += e.codePointAt(n) > 65535 ? 2 : 1;
	return n;
}
// src/waterfall.ts
var de = class {
	#e = null;
	#t = null;
	#n = null;
	#r = /* @__PURE__ */ new Map();
	voiced(e) {
		this.#e = e, this.#t = null;
	}
	marked(e) {
		this.#t = e;
	}
	roundTrip(e) {
		this.#n = e;
	}
	transcribed(e) {
		this.#r.clear();
		let [t, n] = [this.#e, this.#t];
		this.#r.set(e, {
			speechEnded: t,
			marked: n,
			arrived: null,
			audible: null,
			report: null
		}), this.#e = this.#t = null;
	}
	arrived(e, t) {
		let n = this.#r.get(e);
		n && (n.arrived ??= t);
	}
	audible(e, t, n) {
		let r = this.#r.get(e);
		return !r || r.audible !== null ? null : (r.audible = t, this.#i(e, r, n));
	}
	reported(e, t) {
		let n = e.turn_id ?? [...this.#r.keys()].at(-1), r = n === void 0 ? void 0 : this.#r.get(n);
		return n === void 0 || !r ? null : (r.report = e, this.#i(n, r, t));
	}
	reset() {
		this.#r.clear(), this.#e = this.#t = null;
	}
	#i(e, t, n) {
		let { speechEnded: r, marked: i, arrived: a, audible: o, report: s } = t;
		if (!s) return null;
		let c = se(s), l = c.silence === null ? A(i, r) : null, u = s.e2e_latency_ms + (l ?? 0), d = (A(a, r) ?? -1) - u, f = d >= 0 ? d : this.#n, p = A(o, a), m = p === null ? null : u + (f ?? 0) + p;
		return {
			turnId: e,
			stages: {
				...c,
				silence: c.silence ?? l,
				network: f,
				playout: p
			},
			total: m,
			source: d >= 0 ? "measured" : "server",
			at: n
		};
	}
};
function A(e, t) {
	return e === null || t === null ? null : e - t;
}
// src/session.ts
var j = class {
	playback = null;
	waterfall = new de();
	transcript;
	#e;
	#t;
	#n;
	#r = new ae();
	#i = /* @__PURE__ */ new Map();
	#a;
	#o = null;
	#s = 0;
	#c = 0;
	#l = !1;
	#u = 0;
	#d = 0;
	#f = Infinity;
	#p = 0;
	#m = [];
	#h = 1;
	#g = {
		voice: [],
		speed: []
	};
	constructor(e, t, n) {
		this.#e = e, this.#t = t, this.#n = n, this.transcript = new le(() => t.wall()), this.#a = n.ttsSampleRate ?? 48e3;
	}
	receive(e) {
		let t = this.#_[e.action];
		t?.(e), this.#L();
	}
	audio(e) {
		let { chunk_index: t, text_end: n } = this.#o ?? { chunk_index: 0 };
		this.#o = null;
		let r = this.#r.decode(e);
		this.playback && r.length !== 0 && (this.#c = this.#s, this.#i.set(t, {
			turnId: this.#c,
			textEnd: n
		}), this.waterfall.arrived(this.#c, this.#t.now()), this.playback.play(t, r, this.#a));
	}
	lost() {
		this.playback?.abandon(), this.#i.clear(), this.#o = null, this.#c = this.#s = this.#u = this.#d = this.#p = 0;
		for (let e of Object.values(this.#g)) e.length = 0;
		this.#m.length = 0, this.#O(), this.waterfall.reset(), this.transcript.newSession(), this.turn("idle"), this.#L();
	}
	silence() {
		this.playback = null, this.#r.reset(), this.#i.clear(), this.#o = null, this.#c = this.#u = 0, this.transcript.cutOff(Infinity), this.#L();
	}
	expect() {
		this.#u || (this.#u = this.#d = this.#s + 1, this.#f = Infinity, this.#e.value.streamState === "idle" && this.turn("processing"));
	}
	expectNothing() {
		this.#u === this.#d && (this.#u = this.#d = 0), this.#e.value.streamState === "processing" && this.#j();
	}
	turn(e) {
		this.#e.set({ streamState: e });
	}
	problem(e, t = "error", n = e.message) {
		let r = {
			...e,
			at: this.#t.wall()
		};
		this.#e.set({ problems: k(this.#e.value.problems, r) }), this.transcript.problem(n, t, r), this.#L();
	}
	solved(...e) {
		let t = this.#e.value.problems.map((t) => e.includes(t.code) ? {
			...t,
			solved: !0
		} : t);
		this.#e.set({ problems: t });
	}
	keep(e) {
		this.#e.set({ settings: {
			...this.#e.value.settings,
			...e
		} });
	}
	wished(e, t) {
		this.#g[e].push(t);
	}
	model(e, t) {
		this.#m.push([e, t]), this.#O();
	}
	clear() {
		this.transcript.clear(), this.#L();
	}
	changed(e) {
		this.#e.set({ playback: e }), e === "playing" && this.turn("speaking");
	}
	began(e, t) {
		let n = this.#i.get(e)?.turnId;
		n !== void 0 && (this.#x(n), this.transcript.goesOn(n), this.#F(this.waterfall.audible(n, t, this.#t.wall())), this.#L());
	}
	played(e, t) {
		let n = this.#i.get(e);
		if (!n) return;
		for (let t of this.#i.keys()) t <= e && this.#i.delete(t);
		let r = this.#I(t);
		this.#n.send({
			action: "tts_chunk_played",
			chunk_index: e,
			timestamp: r
		}), this.#l = n.textEnd !== void 0, n.textEnd !== void 0 && this.transcript.heard(n.turnId, n.textEnd), this.#L();
	}
	finished(e) {
		this.#n.send({
			action: "tts_playback_finished",
			timestamp: this.#I(e)
		}), this.#l ? this.transcript.silent(this.#c) : this.transcript.heard(this.#c, Infinity), this.#c = 0, this.#e.value.streamState === "speaking" && this.#j(), this.#L();
	}
	samples(e, t) {
		this.#n.sounds(e, t);
	}
	#_ = {
		session_info: ({ data: e }) => this.#v(e),
		queue_status: ({ position: e }) => this.#y(e),
		queue_granted: () => {
			this.#e.set({
				queued: !1,
				queuePosition: null
			}), this.transcript.info("It's your turn!", "queue");
		},
		update_asr: ({ data: e }) => {
			this.transcript.user(e.text, e.turn_id, !1), this.#A();
		},
		finish_asr: ({ data: e }) => {
			this.transcript.user(e.text, e.turn_id, !0), this.playback && (this.#n.simGen || this.transcript.cutOff(e.turn_id), this.waterfall.transcribed(e.turn_id), this.#u = e.turn_id, this.#f = this.#n.simGen ? Infinity : this.#s, this.#d = 0, this.turn("processing"));
		},
		invalid_asr_result: ({ turn_id: e }) => {
			e !== void 0 && this.#C(e), this.#j();
		},
		refine_transcription: ({ data: e }) => {
			this.#n.simGen && this.transcript.refine(e.text);
		},
		update_resp: ({ data: e }) => {
			this.#s = e.turn_id, this.transcript.assistant(e.text, e.turn_id, !1);
		},
		finish_resp: ({ data: e }) => this.#b(e.text, e.turn_id),
		start_tts: () => {
			this.#r.reset(), this.playback?.begin();
		},
		tts_chunk_meta: ({ data: e }) => {
			this.#o = e;
		},
		tts_finished: () => this.playback?.end(),
		stop_tts: () => this.#k(),
		pause_tts: () => {
			this.playback?.pause(), this.#A();
		},
		resume_tts: () => {
			this.transcript.dismiss(), this.playback?.resume(), this.#j();
		},
		voice_changed: ({ data: { name: e } }) => {
			this.#e.set({ currentVoiceName: e }), this.#T("voice", e);
		},
		speed_changed: ({ data: { speed: e } }) => {
			this.#h = e, this.#T("speed", e);
		},
		emotion_changed: ({ data: e }) => this.#e.set({ emotion: e }),
		tool_called: ({ data: e }) => this.#M(e),
		retrieval_updated: ({ data: { text: e } }) => this.#e.set({
			latestRetrieval: e,
			retrievals: this.#N(this.#e.value.retrievals, e)
		}),
		thought_updated: ({ data: { text: e } }) => this.#e.set({
			latestThought: e,
			thoughts: this.#N(this.#e.value.thoughts, e)
		}),
		caption_updated: ({ data: { text: e } }) => this.#e.set({
			latestCaption: e,
			captions: this.#N(this.#e.value.captions, e)
		}),
		speaker_updated: ({ data: e }) => this.#e.set({ currentSpeakerId: e.speaker_id }),
		latency_metrics: ({ data: e }) => this.#P(e),
		decision: ({ data: e }) => {
			let t = {
				...e,
				at: this.#t.wall()
			};
			this.#e.set({ decisions: k(this.#e.value.decisions, t) });
		},
		error: (e) => this.#w(e)
	};
	#v(e) {
		this.#a = e.sample_rate_out ?? this.#n.ttsSampleRate ?? 48e3, this.#h = 1, this.#e.set({
			currentSessionId: e.session_id,
			queued: !1,
			queuePosition: null,
			traces: [],
			currentVoiceName: null,
			currentSpeakerId: null,
			emotion: null
		}), this.#n.admitted();
	}
	#y(e) {
		e !== this.#e.value.queuePosition && this.transcript.info(`Position ${e} in the queue.`, "queue"), this.#e.set({
			queued: !0,
			queuePosition: e
		});
	}
	#b(e, t) {
		this.transcript.assistant(e, t, !0), this.#x(t), this.playback || (this.transcript.silent(t), this.turn("idle"));
	}
	#x(e) {
		e > this.#f ? this.#u = 0 : this.#S(e);
	}
	#S(e) {
		e >= this.#u && (this.#u = 0);
	}
	#C(e) {
		this.#S(e), this.transcript.silent(e);
	}
	#w({ data: e, error_type: t }) {
		t === "voice_not_changed" ? this.#E("voice", this.#e.value.currentVoiceName ?? "") : t === "speed_not_changed" ? this.#E("speed", this.#h) : t === "model_not_changed" ? this.#D() : t === "text_refused" && this.expectNothing(), this.problem({
			code: "server",
			message: e
		}, "error", `Error: ${e}`);
	}
	#T(e, t) {
		let n = this.#g[e].shift(), r = this.#e.value.settings[e];
		this.#g[e].length > 0 || n !== void 0 && n !== r || this.keep({ [e]: t });
	}
	#E(e, t) {
		this.#g[e].length > 0 && this.#T(e, t);
	}
	#D() {
		this.#m.pop(), this.#O();
	}
	#O() {
		this.#e.set({ models: {
			...O.models,
			...Object.fromEntries(this.#m)
		} });
	}
	#k() {
		this.#r.reset(), this.playback?.stop(), this.#c && this.transcript.cutOff(this.#c + 1), this.#c = 0, this.#e.value.streamState === "speaking" && this.turn("processing");
	}
	#A() {
		this.playback && this.turn("listening");
	}
	#j() {
		let { playback: e } = this.#e.value, t = e === "playing" || e === "ducked";
		this.turn(t ? "speaking" : this.#u ? "processing" : "idle");
	}
	#M({ name: e, args: t }) {
		let n = `Tool call -> ${[e, Object.entries(t).map(([e, t]) => `${e}=${M(t)}`).join(", ")].join(" ").trim()}`;
		this.transcript.info(n, "tool", {
			name: e,
			args: t
		});
		let r = {
			text: n,
			name: e,
			args: t,
			at: this.#t.wall()
		};
		this.#e.set({ tools: k(this.#e.value.tools, r) });
	}
	#N(e, t) {
		return !t || e.at(-1)?.text === t ? e : k(e, {
			text: t,
			at: this.#t.wall()
		});
	}
	#P(e) {
		let t = {
			network: e.network_latency_ms,
			asr: e.asr_latency_ms,
			llmFirstToken: e.llm_first_token_ms,
			llmSentence: e.llm_sentence_ms,
			ttsFirstChunk: e.tts_first_chunk_ms
		};
		this.#e.set({ latency: t }), this.#F(this.waterfall.reported(e, this.#t.wall()));
	}
	#F(e) {
		if (!e) return;
		let { traces: t } = this.#e.value, n = e.turnId === this.#p ? t.slice(0, -1) : t;
		this.#p = e.turnId, this.#e.set({ traces: k(n, e) });
	}
	#I(e) {
		return Math.round(this.#t.wall() + e - this.#t.now());
	}
	#L() {
		this.#e.set({ messages: this.transcript.messages });
	}
};
function M(e) {
	return typeof e == "string" ? e : JSON.stringify(e);
}
var N = {
	above: 9,
	floor: -55,
	candidateFrames: 1,
	startFrames: 4
}, P = {
	above: 14,
	floor: -42,
	candidateFrames: 2,
	startFrames: 8
}, F = .3, I = .06, L = -70, R = class {
	kind = "energy";
	#e = null;
	#t = 0;
	#n = 0;
	#r = !1;
	#i = !1;
	async accept(e, t) {
		let n = Math.max(L, 20 * Math.log10(E(e))), r = t ? P : N, i = n > Math.max(r.floor, this.#a(n) + r.above);
		return {
			events: this.#o(i, r),
			voiced: i
		};
	}
	reset() {
		this.#t = this.#n = 0, this.#r = this.#i = !1;
	}
	close() {}
	#a(e) {
		let t = this.#e ?? e, n = t + F * (e - t);
		return this.#e = e < t ? n : Math.min(e, t + I), t;
	}
	#o(e, t) {
		if (this.#n = e ? 0 : this.#n + 1, e ? this.#t += 1 : this.#r || (this.#t = 0), this.#n * x >= 200 && this.#r) return this.#s();
		let n = [];
		return !this.#r && this.#t >= t.candidateFrames && n.push("candidate"), this.#r ||= n.length > 0, this.#r && !this.#i && this.#t >= t.startFrames && (this.#i = !0, n.push("start")), n;
	}
	#s() {
		let e = this.#i ? "end" : "misfire";
		return this.reset(), [e];
	}
}, z = "silero_vad_v5.onnx", B = 64, V = [
	2,
	1,
	128
], H = {
	positiveSpeechThreshold: .5,
	negativeSpeechThreshold: .35,
	redemptionMs: 200,
	preSpeechPadMs: 0,
	minSpeechMs: 3 * x,
	submitUserSpeechOnPause: !1
}, fe = {
	...H,
	positiveSpeechThreshold: .8,
	negativeSpeechThreshold: .5,
	minSpeechMs: 7 * x
}, pe = {
	SPEECH_START: "candidate",
	SPEECH_REAL_START: "start",
	SPEECH_END: "end",
	VAD_MISFIRE: "misfire"
}, U = /* @__PURE__ */ new Float32Array();
async function me(e) {
	let t = await S(e), n = await ne(e);
	return new ge(new he(t, await t.InferenceSession.create(`${e}${z}`)), n);
}
var he = class {
	#e;
	#t;
	#n = new Float32Array(B + 512);
	#r = /* @__PURE__ */ new Float32Array(256);
	constructor(e, t) {
		this.#e = e, this.#t = t;
	}
	async probability(t) {
		let { Tensor: n } = this.#e;
		this.#n.copyWithin(0, 512), this.#n.set(t, B);
		let { output: r, stateN: i } = await this.#t.run({
			input: new n("float32", this.#n, [1, this.#n.length]),
			state: new n("float32", this.#r, V),
			sr: new n("int64", BigInt64Array.of(BigInt(e)), [])
		});
		return this.#r = i?.data, (r?.data)[0];
	}
	reset() {
		this.#n.fill(0), this.#r = /* @__PURE__ */ new Float32Array(256);
	}
	close() {
		this.#t.release();
	}
}, ge = class {
	kind = "silero";
	#e;
	#t;
	#n = U;
	#r = 0;
	#i = !1;
	#a = !1;
	constructor(e, t) {
		this.#e = e, this.#t = new t.FrameProcessor(() => this.#o(), () => e.reset(), H, x), this.#t.resume();
	}
	async accept(e, t) {
		this.#s(t), this.#n = e;
		let n = [];
		return await this.#t.process(U, ({ msg: e }) => {
			let t = pe[e];
			t && n.push(this.#c(t));
		}), {
			events: n,
			voiced: this.#r >= H.positiveSpeechThreshold
		};
	}
	reset() {
		this.#i = !1, this.#t.reset();
	}
	close() {
		this.#e.close();
	}
	async #o() {
		return this.#r = await this.#e.probability(this.#n), {
			isSpeech: this.#r,
			notSpeech: 1 - this.#r
		};
	}
	#s(e) {
		e === this.#a || this.#t.speaking || (this.#a = e, this.#t.setOptions(e ? fe : H));
	}
	#c(e) {
		let t = e === "end" && !this.#i ? "misfire" : e;
		return this.#i = e === "start" || e !== "candidate" && this.#i, t;
	}
}, _e = 3, ve = 30, W = class {
	#e;
	#t;
	#n;
	#r = new te();
	#i = null;
	#a = null;
	#o;
	#s = !1;
	#c = Promise.resolve();
	#l = 0;
	#u = 0;
	#d = !1;
	#f = [];
	constructor(e, t, n, r) {
		this.#o = e, this.#e = t, this.#t = n, this.#n = r;
	}
	push(e, t) {
		for (let n of this.#r.push(e, t)) this.#d || this.#p(n);
	}
	use(e) {
		this.#o = e;
	}
	mute(e) {
		this.#d = e, this.reset(), this.#n.level(0);
	}
	reset() {
		this.#u += 1, this.#r.reset(), this.#f = [], this.#m(async () => this.#g());
	}
	settled() {
		return this.#c;
	}
	#p(e) {
		if (this.#n.frame(e), this.#h(e), this.#l >= ve) return;
		let t = this.#u, n = this.#e.now();
		this.#l += 1, this.#m(async () => {
			--this.#l, t === this.#u && await this.#v(e, n, t);
		});
	}
	#m(e) {
		this.#c = this.#c.then(e);
	}
	#h(e) {
		this.#f.push(E(e)), this.#f.length < _e || (this.#n.level(Math.max(...this.#f)), this.#f = []);
	}
	#g() {
		this.#s = !1, this.#i?.reset(), this.#a?.reset();
	}
	#_() {
		!this.#o || this.#s || ({detector: this.#i, denoiser: this.#a} = this.#o, this.#o = null, this.#g());
	}
	async #v(e, t, n) {
		if (this.#_(), !this.#i) return;
		let r = await this.#y(e), { events: i, voiced: a } = await this.#b(r, this.#i);
		if (n === this.#u) {
			a && this.#n.voiced(t);
			for (let e of i) this.#s = e === "candidate" || e === "start", this.#n.detected(e);
		}
	}
	async #y(e) {
		try {
			return await this.#a?.denoise(e) ?? e;
		} catch (t) {
			return this.#a = null, this.#n.failed("denoiser", t), e;
		}
	}
	async #b(e, t) {
		try {
			return await t.accept(e, this.#t());
		} catch (e) {
			return this.#i = new R(), this.#n.failed("detector", e), {
				events: ["misfire"],
				voiced: !1
			};
		}
	}
}, ye = .2, be = .02, xe = .1, G = -1, Se = class {
	#e;
	#t;
	#n;
	#r = [];
	#i = /* @__PURE__ */ new Map();
	#a = null;
	#o = 0;
	#s = 0;
	#c = !1;
	#l = null;
	#u = !1;
	#d = !1;
	#f = "idle";
	constructor(e, t, n) {
		this.#e = e, this.#t = t, this.#n = n, e.onevent = (e) => this.#m(e);
	}
	begin() {
		this.#o += 1, this.#s = 0, this.#c = !1, this.#l = null, this.#a = null;
	}
	play(e, t, n) {
		n !== this.#e.rate && (this.#a ??= new v(n, this.#e.rate), t = this.#a.push(t)), this.#p(e, t);
	}
	end() {
		let e = this.#a?.flush();
		e?.length && this.#p(G, e), this.#c = !0, this.#_();
	}
	stop() {
		this.begin(), this.#u = this.#d = !1, this.#i.clear(), this.#e.send({ type: "stop" }), this.#b();
	}
	pause() {
		this.#u || (this.#u = !0, this.#e.send({ type: "pause" }), this.#b());
	}
	resume() {
		this.#u && this.#e.send({ type: "resume" }), this.#u = !1, this.unduck(), this.#b();
	}
	get paused() {
		return this.#u;
	}
	get active() {
		return this.#s > 0;
	}
	duck() {
		this.#d || (this.#d = !0, this.#e.send({
			type: "gain",
			value: ye,
			seconds: be
		}), this.#b());
	}
	unduck() {
		this.#d && (this.#d = !1, this.#e.send({
			type: "gain",
			value: 1,
			seconds: xe
		}), this.#b());
	}
	abandon() {
		for (let { cancel: e } of this.#r.splice(0)) e();
		this.stop();
	}
	setVolume(e) {
		this.#e.setVolume(e);
	}
	setDevice(e) {
		return this.#e.setDevice(e);
	}
	wake() {
		this.#e.wake();
	}
	close() {
		this.abandon(), this.#e.onevent = () => {}, this.#e.close();
	}
	#p(e, t) {
		this.#s += 1, this.#i.set(e, t), this.#e.send({
			type: "play",
			samples: t,
			index: e,
			reply: this.#o
		});
	}
	#m(e) {
		e.type === "began" ? this.#h(e.index, e.reply, e.time) : e.type === "played" && this.#g(e.index, e.reply, e.time);
	}
	#h(e, t, n) {
		let r = this.#i.get(e);
		this.#i.delete(e), t === this.#o && e !== G && this.#v(n, (n) => {
			t === this.#o && (this.#b(), this.#n.began(e, n), r && this.#n.samples(r, this.#e.rate));
		});
	}
	#g(e, t, n) {
		e !== G && this.#v(n, (t) => this.#n.played(e, t)), t === this.#o && (--this.#s, this.#l = n, this.#_());
	}
	#_() {
		let e = this.#o;
		!this.#c || this.#s > 0 || this.#v(this.#l, (t) => {
			e === this.#o && (this.begin(), this.#b(), this.#n.finished(t));
		});
	}
	#v(e, t) {
		let n = e === null ? this.#t.now() : this.#e.audibleAt(e), r = Math.max(0, n - this.#t.now()), i = {
			then: () => t(Math.min(n, this.#t.now())),
			cancel: this.#t.after(r, () => this.#y(i))
		};
		this.#r.push(i);
	}
	#y(e) {
		for (; this.#r.includes(e);) {
			let e = this.#r.shift();
			e.cancel(), e.then();
		}
	}
	#b() {
		let e = this.#s > 0 || this.#l !== null && !this.#u, t = this.#d ? "ducked" : "playing", n = this.#u ? "paused" : e ? t : "idle";
		n !== this.#f && (this.#f = n, this.#n.changed(n));
	}
}, Ce = class e {
	playback;
	ear;
	#e;
	#t;
	inputDevice = "";
	outputDevice;
	#n = null;
	#r = 0;
	#i = 0;
	#a = !1;
	constructor(e, t, n, r, i) {
		this.#e = e, this.outputDevice = n, this.playback = t, this.ear = r, this.#t = i;
	}
	static async open(t, n, r, i, a, o) {
		let s = await t.openOutput(i.outputDevice);
		s.setVolume(i.volume);
		let c = new Se(s, n, o);
		try {
			let o = new W(r, n, () => c.active, a), s = new e(t, c, i.outputDevice, o, a);
			return await s.listen(i.inputDevice), s;
		} catch (e) {
			throw c.close(), e;
		}
	}
	async listen(e) {
		let t = ++this.#r, n = () => this.#a || t !== this.#r, r = await K(n, this.#e.openMicrophone(e, {
			samples: (e, t) => {
				this.#n === r && this.ear.push(e, t);
			},
			ended: () => void this.#o()
		}));
		return r === null || n() ? (r?.close(), !1) : (this.#n?.close(), this.#n = r, this.inputDevice = e, this.ear.reset(), !0);
	}
	async playOn(e) {
		let t = ++this.#i, n = () => this.#a || t !== this.#i;
		return await K(n, this.playback.setDevice(e).then(() => (this.outputDevice = e, !0))) !== null && !n();
	}
	wake() {
		this.playback.wake(), this.#n?.wake();
	}
	close() {
		this.#a = !0, this.#n?.close(), this.#n = null, this.ear.reset(), this.playback.close();
	}
	async #o() {
		try {
			await this.listen("");
		} catch (e) {
			if (!(e instanceof i)) throw e;
			this.#t.silenced(e);
		}
	}
};
async function K(e, t) {
	try {
		return await t;
	} catch (t) {
		if (e()) return null;
		throw t;
	}
}
// src/store.ts
var we = class {
	#e;
	#t = !0;
	#n = /* @__PURE__ */ new Set();
	constructor(e) {
		this.#e = e;
	}
	get value() {
		return this.#e;
	}
	set(e) {
		Object.keys(e).every((t) => Object.is(e[t], this.#e[t])) || (this.#e = Object.freeze({
			...this.#e,
			...e
		}), this.#t && (this.#t = !1, queueMicrotask(() => this.#r())));
	}
	subscribe(e) {
		let t = (t) => e(t);
		return this.#n.add(t), this.#i(t), () => this.#n.delete(t);
	}
	#r() {
		this.#t = !0;
		for (let e of [...this.#n]) this.#i(e);
	}
	#i(e) {
		q(() => e(this.#e));
	}
};
function q(e) {
	try {
		e();
	} catch (e) {
		typeof reportError == "function" ? reportError(e) : console.error(e);
	}
}
// src/transport.ts
var J = [
	0,
	1e3,
	2e3,
	15e3
], Te = 1e4, Ee = 2, De = 15e3, Y = [
	250,
	500,
	1e3,
	2e3,
	4e3,
	8e3,
	15e3
], Oe = 256e3, X = 1, ke = 1e3, Ae = 1008, je = class {
	#e;
	#t;
	#n;
	#r;
	#i = null;
	#a = "closed";
	#o = 0;
	#s = !1;
	#c = 0;
	#l = 0;
	#u = [];
	#d = () => {};
	#f = () => {};
	constructor(e, t, n, r = Math.random) {
		this.#e = e, this.#t = t, this.#n = n, this.#r = r;
	}
	open() {
		this.#_(), this.#s = !1, this.#v("connecting");
		let e = this.#e();
		this.#i = e, e.binaryType = "arraybuffer", e.onopen = () => this.#p(), e.onmessage = ({ data: e }) => this.#m(e), e.onclose = (e) => this.#h(e), this.#f = this.#t.after(De, () => this.#g());
	}
	hurry() {
		this.#a === "waiting" && this.open();
	}
	settled() {
		this.#s = !0, this.#o = 0;
	}
	close() {
		this.#_(), this.#v("closed");
	}
	send(e) {
		return this.#i?.readyState === X && (this.#i.send(JSON.stringify(e)), !0);
	}
	sendAudio(e) {
		let t = this.#i;
		return t?.readyState !== X || t.bufferedAmount > Oe ? !1 : (t.send(e), !0);
	}
	#p() {
		this.#f(), this.#c = 0, this.#l = 0, this.#u = [], this.#v("open"), this.#y();
	}
	#m(e) {
		if (this.#l = 0, e instanceof ArrayBuffer) return this.#n.audio(e);
		let t = Me(e);
		t?.action === "pong" ? this.#S(t) : t && this.#n.message(t);
	}
	#h({ code: e, reason: t }) {
		let n = e === Ae && !this.#s;
		if (e !== ke && !n) return this.#g();
		this.#_(), this.#v("closed", null, t);
	}
	#g() {
		this.#_();
		let e = Y[Math.min(this.#o, Y.length - 1)] * (.75 + this.#r() / 2);
		this.#o += 1, this.#f = this.#t.after(e, () => this.open()), this.#v("waiting", this.#t.wall() + e);
	}
	#_() {
		this.#d(), this.#f();
		let e = this.#i;
		this.#i = null, e && (e.onopen = e.onmessage = e.onclose = null, e.close());
	}
	#v(e, t = null, n) {
		this.#a = e, this.#n.connection(e, t, n);
	}
	#y() {
		let e = J[Math.min(this.#c, J.length - 1)];
		this.#d = this.#t.after(e, () => this.#b());
	}
	#b() {
		this.#c += 1, this.send({
			action: "ping",
			timestamp: this.#t.wall()
		}), this.#f(), this.#f = this.#t.after(Te, () => this.#x()), this.#y();
	}
	#x() {
		this.#l += 1, this.#l >= Ee && this.#g();
	}
	#S({ client_timestamp: e, server_recv_timestamp: t }) {
		this.#f();
		let n = this.#t.wall();
		this.#u = [...this.#u.slice(-4), t - (e + n) / 2], this.#n.clock(Ne(this.#u), n - e), this.send({
			action: "clock_sync",
			client_send_ts: e / 1e3,
			server_recv_ts: t / 1e3,
			client_recv_ts: n / 1e3
		});
	}
};
function Me(e) {
	if (typeof e != "string") return null;
	try {
		let t = JSON.parse(e);
		return typeof t == "object" && t && "action" in t ? t : null;
	} catch (e) {
		if (e instanceof SyntaxError) return null;
		throw e;
	}
}
function Ne(e) {
	let t = [...e].sort((e, t) => e - t);
	return t[t.length >> 1];
}
// src/conversation.ts
function Pe(e, t, n) {
	let r = t ?? {}, i = new URL(e ?? "ws", globalThis.location?.href);
	return i.protocol = i.protocol.replace(/^http/, "ws"), new Re(i, r, n ?? Fe(r.workletUrl));
}
function Fe(e) {
	return {
		clock: m,
		audio: a(m, e),
		connect: (e) => new WebSocket(e),
		post: (e, t) => fetch(e, {
			method: "POST",
			body: t
		}),
		loadDetector: me,
		loadDenoiser: ie,
		watch: Ie
	};
}
function Ie(e) {
	let t = () => {
		document.visibilityState === "visible" && e.visible();
	};
	return addEventListener("online", e.online), document.addEventListener("visibilitychange", t), navigator.mediaDevices?.addEventListener("devicechange", e.devicesChanged), () => {
		removeEventListener("online", e.online), document.removeEventListener("visibilitychange", t), navigator.mediaDevices?.removeEventListener("devicechange", e.devicesChanged);
	};
}
var Z = [
	"insecure",
	"microphone-denied",
	"microphone-missing",
	"microphone-failed",
	"audio-failed"
], Le = 1e3, Re = class {
	#e;
	#t;
	#n;
	#r;
	#i;
	#a;
	#o;
	#s = /* @__PURE__ */ new Set();
	#c;
	#l = null;
	#u = null;
	#d = 0;
	#f = !1;
	#p = !1;
	#m = !1;
	#h = !1;
	#g = 0;
	#_ = () => {};
	constructor(e, t, n) {
		this.#e = t, this.#t = n;
		let r = {
			...O.settings,
			...t.settings
		};
		this.#n = new we({
			...O,
			settings: r
		}), this.#c = {
			detector: t.pureFrontend ? null : new R(),
			denoiser: null
		}, this.#a = ze(e, t.apiUrl), this.#r = new j(this.#n, n.clock, {
			simGen: t.simGen ?? !1,
			pureFrontend: t.pureFrontend ?? !1,
			ttsSampleRate: t.ttsSampleRate,
			send: (e) => this.#R(e),
			admitted: () => this.#F(),
			sounds: (e, t) => this.#Y(e, t)
		}), this.#i = new je(() => n.connect(e.href), n.clock, {
			message: (e) => this.#L(e),
			audio: (e) => this.#r.audio(e),
			connection: (e, t, n) => this.#A(e, t, n),
			clock: (e, t) => this.#P(e, t)
		}), this.#o = n.watch({
			online: () => this.#i.hurry(),
			visible: () => this.#B(),
			devicesChanged: () => void this.refreshDevices()
		}), this.#i.open(), this.refreshDevices();
	}
	subscribe(e) {
		return this.#n.subscribe(e);
	}
	get state() {
		return this.#n.value;
	}
	async toggleStreaming() {
		if (this.state.streaming) return this.#C();
		this.#f || this.#h || (this.state.connection === "closed" && this.#i.open(), await this.#v());
	}
	restart() {
		if (this.#h) return;
		this.#C(), this.#m = !1, this.#i.open(), this.#r.clear();
		let { connection: e, settings: t, devices: n, micMuted: r, detector: i, denoising: a } = this.state, o = {
			connection: e,
			settings: t,
			devices: n,
			micMuted: r,
			detector: i,
			denoising: a
		};
		this.#n.set({
			...O,
			...o
		});
	}
	clearHistory() {
		this.#r.clear();
	}
	close() {
		this.#h = !0, this.#C(), this.#o(), this.#i.close(), this.#c.detector?.close(), this.#c.denoiser?.close();
	}
	async #v() {
		let e = ++this.#d;
		this.#f = !0, this.#y();
		try {
			let t = await this.#b();
			e === this.#d ? this.#x(t) : t.close();
		} catch (t) {
			if (!(t instanceof i)) throw t;
			e === this.#d && this.#k(t);
		} finally {
			e === this.#d && (this.#f = !1), this.#y();
		}
	}
	#y() {
		this.#n.set({ loading: this.#f || this.state.queued });
	}
	#b() {
		this.#l ??= this.#w();
		let { audio: e, clock: t } = this.#t;
		return Ce.open(e, t, this.#c, this.state.settings, this.#V, this.#r);
	}
	#x(e) {
		this.#u = e, this.#r.playback = e.playback, e.ear.use(this.#c), e.ear.mute(this.state.micMuted), this.#n.set({ streaming: !0 }), this.#r.solved(...Z), this.#I(), this.#S(e), this.refreshDevices();
	}
	#S(e) {
		let { inputDevice: t, outputDevice: n, volume: r } = this.state.settings;
		e.playback.setVolume(r), t !== e.inputDevice && this.selectInput(t), n !== e.outputDevice && this.selectOutput(n);
	}
	#C() {
		this.#d += 1, this.#f = !1, this.#_(), this.state.streaming && this.#R({
			action: "conversation_end",
			timestamp: this.#z()
		}), this.#u?.close(), this.#u = null, this.#r.silence(), this.#y(), this.#n.set({
			streaming: !1,
			streamState: "idle",
			userSpeech: "none",
			inputLevel: 0
		});
	}
	async #w() {
		this.#T(this.#c);
		let { vadAssets: e, denoiser: t } = this.#e;
		if (!e || !this.#c.detector) return;
		let { loadDetector: n, loadDenoiser: r } = this.#t, i = {
			detector: await this.#E("detector", () => n(e), new R()),
			denoiser: t ? await this.#E("denoiser", () => r(e, t), null) : null
		};
		this.#T(i);
	}
	#T(e) {
		if (this.#h) {
			e.detector?.close(), e.denoiser?.close();
			return;
		}
		this.#c = e, this.#u?.ear.use(e);
		let t = e.denoiser !== null;
		this.#n.set({
			detector: e.detector?.kind ?? "none",
			denoising: t
		});
	}
	async #E(e, t, n) {
		try {
			return await t();
		} catch (t) {
			return this.#D(e, t), n;
		}
	}
	#D(e, t) {
		console.warn(`xtalk: the ${e} failed`, t), e === "denoiser" ? (this.#n.set({ denoising: !1 }), this.#O("denoiser-failed", "The denoiser does not work; the raw sound is used instead.")) : (this.#n.set({ detector: "energy" }), this.#O("detector-failed", "The speech detector does not work; a simpler one is used."));
	}
	#O(e, t) {
		this.#r.problem({
			code: e,
			message: t
		}, "notice");
	}
	#k({ code: e, message: t }) {
		this.#r.problem({
			code: e,
			message: t
		});
	}
	#A(e, t, n) {
		let { connection: r, streaming: i } = this.state, a = this.#p;
		this.#n.set({
			connection: e,
			retryAt: t
		}), e !== "open" && (this.#N(), e === "waiting" ? this.#j(r === "open") : e === "closed" && n !== void 0 && ((i || this.#f) && this.#C(), this.#M(a ? "session-ended" : "connection-refused", n)));
	}
	#j(e) {
		if (this.#m) return;
		this.#m = !0;
		let t = e ? {
			code: "connection-lost",
			message: "The connection was lost. Trying again …"
		} : {
			code: "connection-refused",
			message: "The server cannot be reached. Trying again …"
		};
		this.#r.problem(t, "connection");
	}
	#M(e, t) {
		this.#m = !1;
		let n = `The server ended the connection: ${t || "it gave no reason"}.`;
		this.#r.problem({
			code: e,
			message: n,
			reason: t
		}, "connection");
	}
	#N() {
		this.#p = !1, this.#_(), this.#r.lost(), this.#n.set({
			queued: !1,
			queuePosition: null,
			currentSessionId: null
		}), this.#y();
	}
	#P(e, t) {
		this.#n.set({
			clockOffset: e,
			roundTrip: t
		}), this.#r.waterfall.roundTrip(t);
	}
	#F() {
		this.#p = !0, this.#m = !1, this.#i.settled();
		let { voice: e, speed: t } = this.state.settings;
		e && this.changeVoice(e), t !== 1 && this.changeTTSSpeed(t), this.state.streaming && this.#I();
	}
	#I() {
		if (!this.#p) return;
		let e = {
			pauses_itself: !1,
			decisions: !0
		}, t = this.#e.pureFrontend ? { mode: "pure_frontend" } : {};
		this.#R({
			action: "conversation_start",
			timestamp: this.#z(),
			client: e,
			...t
		}), this.#e.pureFrontend && this.#r.turn("listening");
	}
	#L(e) {
		q(() => this.#r.receive(e)), this.#y();
	}
	#R(e) {
		this.#p && this.#i.send(e);
	}
	#z() {
		return Math.round(this.#t.clock.wall());
	}
	#B() {
		this.#i.hurry(), this.#u?.wake();
	}
	#V = {
		frame: (e) => {
			this.#p && this.#i.sendAudio(T(e));
		},
		level: (e) => this.#n.set({ inputLevel: e }),
		detected: (e) => this.#H(e),
		voiced: (e) => {
			this.#K && this.#r.waterfall.voiced(e);
		},
		failed: (e, t) => this.#D(e, t),
		silenced: (e) => {
			this.#C(), this.#k(e);
		}
	};
	#H(e) {
		if (!this.#u) return;
		let { playback: t } = this.#u;
		this.#_(), e === "candidate" ? (this.#n.set({ userSpeech: "candidate" }), t.active && t.duck()) : e === "misfire" ? (this.#n.set({ userSpeech: "none" }), t.paused || t.unduck()) : e === "start" ? this.#U() : this.#W();
	}
	#U() {
		this.#n.set({ userSpeech: "confirmed" }), this.#K && this.#p && (this.#R({
			action: "vad_speech_start",
			timestamp: this.#z()
		}), this.#r.turn("listening"));
	}
	#W() {
		this.#n.set({ userSpeech: "none" }), this.#G(), this.#K && this.#p && (this.#R({
			action: "vad_speech_end",
			timestamp: this.#z()
		}), this.#r.waterfall.marked(this.#t.clock.now()), this.state.streamState === "listening" && this.#r.turn("processing"));
	}
	#G() {
		this.#_ = this.#t.clock.after(Le, () => {
			let e = this.#u?.playback;
			e && !e.paused && e.unduck();
		});
	}
	get #K() {
		return this.#e.marks ?? this.state.detector === "silero";
	}
	toggleMicMute() {
		let e = !this.state.micMuted;
		this.#n.set({ micMuted: e }), this.#u?.ear.mute(e), e && this.#u && (this.#H("misfire"), this.#R({
			action: "vad_speech_end",
			timestamp: this.#z(),
			reason: "muted"
		}), this.state.streamState === "listening" && this.#r.turn("idle"));
	}
	changeVoice(e) {
		this.#r.keep({ voice: e }), e && this.#p && (this.#r.wished("voice", e), this.#R({
			action: "change_voice",
			voice_name: e,
			timestamp: this.#z()
		}));
	}
	changeTTSSpeed(e) {
		let t = $(e, .5, 1.5);
		this.#r.keep({ speed: t }), this.#p && (this.#r.wished("speed", t), this.#R({
			action: "change_tts_speed",
			speed: t,
			timestamp: this.#z()
		}));
	}
	changeEmotion(e, t = []) {
		let n = this.#z(), r = [...t];
		this.#R({
			action: "change_emotion",
			emotion_name: e,
			emotion_vector: r,
			timestamp: n
		});
	}
	changeTTSModel(e, t = {}) {
		if (!this.#p) return;
		this.#r.model("tts", e);
		let n = this.#z();
		this.#R({
			action: "change_tts_model",
			model_type: e,
			config: t,
			timestamp: n
		});
	}
	changeLLMModel(e, t = "", n = "", r = null) {
		this.#p && (this.#r.model("llm", e), this.#R({
			action: "change_llm_model",
			model_name: e,
			base_url: t,
			api_key: n,
			extra_body: r,
			timestamp: this.#z()
		}));
	}
	async selectInput(e) {
		await this.#q("inputDevice", e, (t) => t.listen(e)) && this.#u && this.#r.solved(...Z);
	}
	async selectOutput(e) {
		await this.#q("outputDevice", e, (t) => t.playOn(e)) && this.#r.solved("loudspeaker-failed");
	}
	async #q(e, t, n) {
		let r = this.#u;
		if (this.#r.keep({ [e]: t }), !r) return !0;
		try {
			return await n(r);
		} catch (t) {
			if (!(t instanceof i)) throw t;
			return this.#r.keep({ [e]: r[e] }), this.#k(t), !1;
		}
	}
	async refreshDevices() {
		let e = await this.#t.audio.devices();
		this.#h || this.#n.set({ devices: e });
	}
	setVolume(e) {
		let t = $(e, 0, 1);
		this.#r.keep({ volume: t }), this.#u?.playback.setVolume(t);
	}
	async uploadFile(e) {
		this.#g += 1, this.#n.set({ uploading: !0 }), this.#r.solved("upload-failed", "upload-unsent"), this.#r.expect();
		try {
			await this.#J(e);
		} catch (e) {
			this.#r.expectNothing();
			let t = e instanceof Q ? e : new Q("upload-unsent", "The file could not be sent.", e);
			throw this.#k(t), t;
		} finally {
			--this.#g, this.#n.set({ uploading: this.#g > 0 });
		}
	}
	async #J(e) {
		let t = this.state.currentSessionId;
		if (!t) throw new Q("upload-unsent", "There is no session to send the file to yet.");
		let n = new FormData();
		n.set("session_id", t), n.set("file", Be(e), e.name);
		let r = await this.#t.post(new URL("api/upload", this.#a).href, n);
		if (!r.ok) throw await Ve(r);
	}
	onNewAudioOutput(e) {
		let t = (t, n) => e(t, n);
		return this.#s.add(t), () => this.#s.delete(t);
	}
	#Y(e, t) {
		for (let n of this.#s) q(() => n(e, t));
	}
}, Q = class extends Error {
	code;
	constructor(e, t, n) {
		super(t, { cause: n }), this.code = e;
	}
};
function $(e, t, n) {
	if (Number.isNaN(Number(e))) throw RangeError(`a number from ${t} to ${n} is needed`);
	return Math.min(n, Math.max(t, e));
}
function ze(e, t) {
	if (t !== void 0) return new URL(t, globalThis.location?.href);
	let n = new URL("./", e);
	return n.protocol = n.protocol.replace(/^ws/, "http"), n;
}
function Be(e) {
	return e.type ? e : new Blob([e], { type: "text/plain" });
}
async function Ve(e) {
	let t = await e.json().catch(() => null), n = typeof t == "object" && t && "detail" in t ? t.detail : null;
	return typeof n == "string" ? new Q("upload-failed", n) : new Q("upload-unsent", `The server refused the file (${e.status}).`);
}
export { D as STAGES, Pe as createConversation, oe as quantiles };
