"""A client for a device: streams a microphone, plays the replies, detects nothing by itself.

    python device_client.py question.wav answer.wav [ws://localhost:7635/ws]

It needs the package `websockets` and no more. The recording stands for the microphone, the file
for the loudspeaker; the conversation ends after one reply. What a device has to do:

1. Connect, and say that it does not pause by itself.
2. Send the microphone for ever, silence included: PCM16 mono 16 kHz, 512 samples each 32 ms.
3. Read: a text message is JSON with an "action"; a binary message is a chunk for the loudspeaker,
   PCM16 mono 48 kHz, whose number came in the message "tts_chunk_meta" before it.
4. Obey pause_tts, resume_tts and stop_tts at once: they come when the user begins to speak.
5. Say which chunk has been played, so that the server knows what the user has heard.
"""

import asyncio
import json
import sys
import wave

from websockets.asyncio.client import connect

FRAME, RATE_IN, RATE_OUT = 512, 16_000, 48_000


async def send_microphone(socket, pcm):
    clock = asyncio.get_running_loop().time
    began, sent = clock(), 0
    while True:
        frame = pcm[2 * sent : 2 * (sent + FRAME)].ljust(2 * FRAME, b"\0")
        sent += FRAME
        await asyncio.sleep(began + sent / RATE_IN - clock())
        await socket.send(frame)


class Loudspeaker:
    def __init__(self):
        self.chunks = asyncio.Queue()
        self.gate = asyncio.Event()  # shut between pause_tts and resume_tts
        self.gate.set()
        self.last = self.stopped = 0  # numbers of chunks; they only grow

    async def play(self, socket, out):
        while True:
            number, pcm = await self.chunks.get()
            await self.gate.wait()
            if number > self.stopped:
                out.writeframes(pcm)
                await asyncio.sleep(len(pcm) / 2 / RATE_OUT)
                played = {"action": "tts_chunk_played", "chunk_index": number}
                await socket.send(json.dumps(played))
            self.chunks.task_done()


async def listen(socket, speaker):
    async for message in socket:
        if isinstance(message, bytes):
            speaker.chunks.put_nowait((speaker.last, message))
            continue
        message = json.loads(message)
        action, data = message["action"], message.get("data")
        if action == "tts_chunk_meta":
            speaker.last = data["chunk_index"]
        elif action == "pause_tts":
            speaker.gate.clear()
        elif action == "resume_tts":
            speaker.gate.set()
        elif action == "stop_tts":
            speaker.stopped = speaker.last
            speaker.gate.set()
        elif action == "tts_finished":
            return await speaker.chunks.join()
        elif action in ("finish_asr", "finish_resp"):
            print("you:" if action == "finish_asr" else "reply:", data["text"])
        elif action == "error":
            print("error:", data, file=sys.stderr)


async def main(question, answer, url="ws://localhost:7635/ws"):
    with wave.open(question, "rb") as file:
        if file.getparams()[:3] != (1, 2, RATE_IN):
            sys.exit("the question must be a WAV file: mono, 16 bits, 16000 Hz")
        pcm = file.readframes(file.getnframes())
    with wave.open(answer, "wb") as out:
        out.setparams((1, 2, RATE_OUT, 0, "NONE", ""))
        async with connect(url, compression=None) as socket:
            hello = {"action": "conversation_start", "client": {"pauses_itself": False}}
            await socket.send(json.dumps(hello))
            speaker = Loudspeaker()
            work = [send_microphone(socket, pcm), speaker.play(socket, out)]
            tasks = [asyncio.create_task(each) for each in work]
            await listen(socket, speaker)
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except OSError as error:
        sys.exit(f"{error}; is the recording there, and a server started (xtalk serve)?")
