(function playerWorklet() {
	const FADE_SECONDS = .003;
	const DECAY = Math.exp(-4 / (FADE_SECONDS * sampleRate));
	class Player extends AudioWorkletProcessor {
		chunks = [];
		offset = 0;
		paused = false;
		ended = false;
		gain = 1;
		target = 1;
		step = 0;
		resumeStep = 1 / (FADE_SECONDS * sampleRate);
		fade = 1;
		last = 0;
		frame = 0;
		next = 0;
		constructor() {
			super();
			this.port.onmessage = ({ data }) => this.obey(data);
		}
		obey(command) {
			if (command.type === "play") this.chunks.push(command);
			else if (command.type === "stop") this.halt();
			else if (command.type === "pause") this.pause();
			else if (command.type === "resume") this.resume();
			else if (command.type === "gain") this.ramp(command.value, command.seconds);
			else this.ended = true;
		}
		halt() {
			this.chunks = [];
			this.offset = 0;
			this.paused = false;
			this.fade = this.gain = this.target = 1;
		}
		pause() {
			if (this.paused) return;
			this.paused = true;
			this.tell({
				type: "paused",
				time: this.next / sampleRate
			});
		}
		resume() {
			if (this.paused && this.offset > 0) this.fade = 0;
			this.paused = false;
		}
		ramp(value, seconds) {
			this.target = value;
			this.step = (value - this.gain) / Math.max(1, seconds * sampleRate);
		}
		tell(event) {
			this.port.postMessage(event);
		}
		process(_inputs, outputs) {
			const channels = outputs[0] ?? [];
			const out = channels[0];
			if (out) {
				this.frame = Math.max(this.next, currentFrame);
				this.next = this.frame + out.length;
				this.decay(out, this.paused ? 0 : this.fill(out));
				for (const other of channels.slice(1)) other.set(out);
			}
			return !this.ended;
		}
		/** How many samples there were to play. */
		fill(out) {
			let done = 0;
			for (let chunk = this.chunks[0]; chunk && done < out.length; chunk = this.chunks[0]) {
				const { samples, index, reply } = chunk;
				if (this.offset === 0) this.tell({
					type: "began",
					index,
					reply,
					time: this.at(done)
				});
				const count = Math.min(out.length - done, samples.length - this.offset);
				for (let i = 0; i < count; i++) out[done + i] = samples[this.offset + i] * this.level();
				done += count;
				this.offset += count;
				if (this.offset < samples.length) break;
				this.offset = 0;
				this.chunks.shift();
				this.tell({
					type: "played",
					index,
					reply,
					time: this.at(done)
				});
				if (!this.chunks.length) this.tell({
					type: "dry",
					reply,
					time: this.at(done)
				});
			}
			if (done) this.last = out[done - 1];
			return done;
		}
		at(done) {
			return (this.frame + done) / sampleRate;
		}
		level() {
			if (this.gain !== this.target) {
				this.gain += this.step;
				if (this.step === 0 || (this.target - this.gain) / this.step <= 0) this.gain = this.target;
			}
			if (this.fade < 1) this.fade = Math.min(1, this.fade + this.resumeStep);
			return this.gain * this.fade;
		}
		decay(out, from) {
			for (let i = from; i < out.length; i++) {
				this.last *= DECAY;
				if (Math.abs(this.last) < 1e-5) this.last = 0;
				out[i] = this.last;
			}
		}
	}
	registerProcessor("xtalk-player", Player);
})();
(function captureWorklet() {
	const PIECE = 512;
	class Capture extends AudioWorkletProcessor {
		piece = new Float32Array(PIECE);
		filled = 0;
		ended = false;
		constructor() {
			super();
			this.port.onmessage = () => {
				this.ended = true;
			};
		}
		process(inputs) {
			const samples = inputs[0]?.[0];
			if (samples) this.add(samples);
			return !this.ended;
		}
		add(samples) {
			let rest = samples;
			while (rest.length) {
				const part = rest.subarray(0, PIECE - this.filled);
				this.piece.set(part, this.filled);
				this.filled += part.length;
				rest = rest.subarray(part.length);
				if (this.filled === PIECE) this.hand();
			}
		}
		hand() {
			this.port.postMessage(this.piece, [this.piece.buffer]);
			this.piece = new Float32Array(PIECE);
			this.filled = 0;
		}
	}
	registerProcessor("xtalk-capture", Capture);
})();
