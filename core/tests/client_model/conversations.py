"""Random conversations through the whole engine, each judged by all that was said and heard.

A seed draws the user, the network, the recogniser, the agent, the voice, and what goes wrong:
models that fail or hang at any point, clients that vanish. `converse(seed, kind)` is one of them;
its `faults` are to be empty.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
from browser import Browser, Server, talk, wait
from coded import (
    COUGH,
    FRAME_S,
    PERIOD,
    WORDS,
    Book,
    CodedAgent,
    CodedASR,
    CodedTTS,
    FarEnhancer,
    FarVAD,
    Outage,
    Reply,
    SmallAgent,
    SmallASR,
    SmallTTS,
    counted,
    position_of,
    word_frames,
)
from original_page import Device, OriginalPage

from xtalk import events
from xtalk.audio import RATE_OUT
from xtalk.pipeline import DefaultPipeline
from xtalk.testing.fakes import LoudnessVAD

KINDS = ("marks", "marks and detector", "device", "smallest models")
NEVER = 1e6
FOREVER_S = 45.0  # after that the user speaks again, whatever the server does
AHEAD_S, BUFFER_S, LANE_S, CALL_S, CHUNK_S = 1.0, 2.0, 30.0, 2.25, 0.2
PLAIN = WORDS[:15]
FILLERS = {"uh-huh", "um"}
CONFIG: dict[str, Any] = {}


@dataclass
class Said:
    """One utterance of the user, in seconds from the start."""

    at: float
    frames: list[bytes]
    words: list[str]

    @property
    def end(self) -> float:
        return self.at + len(self.frames) * FRAME_S


def draw_user(rng: random.Random) -> list[Said]:
    """Sentences, halves of sentences, coughs, backchannels and hesitations, at any distance."""
    plan, at = [], rng.uniform(0.6, 1.5)
    for _ in range(rng.randint(1, 5)):
        kind = rng.choices(("words", "half", "cough", "uh-huh", "um"), (10, 2, 4, 3, 1))[0]
        said: list[str] = []
        if kind in ("words", "half"):
            said = [rng.choice(PLAIN) for _ in range(rng.randint(1, 6))]
            # A word after itself would be one long word.
            said = [
                word for word, after in zip(said, [*said[1:], ""], strict=True) if word != after
            ]
        elif kind in FILLERS:
            said = [kind]
        frames = [f for word in said for f in word_frames(word)]
        if kind == "half":
            frames += word_frames("<incomplete>")
        if kind == "cough":
            frames = [COUGH] * rng.randint(2, 20)
        plan.append(Said(at, frames, said))
        at = plan[-1].end + rng.choice((rng.uniform(0.05, 0.25), rng.uniform(0.6, 5.0)))
    return plan


def marks_of(plan: list[Said], onset: float) -> list[tuple[float, bool]]:
    """What the page's own detector makes of it."""
    spans: list[list[float]] = []
    for said in plan:
        begin, end = said.at + onset, said.end + 0.5
        if spans and begin <= spans[-1][1]:
            spans[-1][1] = end
        else:
            spans.append([begin, end])
    return [mark for begin, end in spans for mark in ((begin, True), (end, False))]


def draw_reply(rng: random.Random) -> list[Any]:
    parts: list[Any] = [rng.choice((0.01, 0.2, 1.0))]
    if rng.random() < 0.06:
        return parts if rng.random() < 0.5 else [*parts, RuntimeError("the agent broke")]
    for _ in range(rng.randint(1, 3)):
        words = [rng.choice(PLAIN) for _ in range(rng.randint(1, 8))]
        text = " ".join(words).capitalize() + ". "
        cut = rng.randint(0, len(text))
        parts += [part for part in (text[:cut], 0.01, text[cut:]) if part]
        if rng.random() < 0.15:
            parts.append(rng.uniform(0.3, 3.0))
    if rng.random() < 0.05:
        parts.append(RuntimeError("the agent broke"))
    return parts


@dataclass
class Trouble:
    """What goes wrong in this conversation; times in seconds."""

    name: str = "none"
    vanishes_at: float | None = None
    asr_hangs: dict[int, str] = field(default_factory=dict)  # segment -> "middle" or "end"
    agent_hangs: dict[int, float] = field(default_factory=dict)  # turn -> for how long
    tts_hangs: dict[int, float] = field(default_factory=dict)  # sentence -> for how long
    detector: Outage | None = None
    enhancer: Outage | None = None


def draw_trouble(rng: random.Random, kind: str) -> Trouble:
    """In two conversations of five. A call that blocks a thread would stop the virtual clock."""
    names = (
        ["vanishes"]
        if kind == "smallest models"
        else ["vanishes", "asr", "agent", "tts", "all", "detector", "enhancer"]
    )
    if rng.random() > 0.4:
        return Trouble()
    name = rng.choice(names)
    trouble = Trouble(name)
    if name == "vanishes" or (name == "all" and rng.random() < 0.5):
        trouble.vanishes_at = rng.uniform(0.1, 12.0)
    if name in ("asr", "all"):
        trouble.asr_hangs = {rng.randint(0, 2): rng.choice(("middle", "end"))}
    if name in ("agent", "all"):
        trouble.agent_hangs = {rng.randint(1, 3): rng.choice((3.0, 12.0, NEVER))}
    if name in ("tts", "all"):
        trouble.tts_hangs = {rng.randint(1, 5): rng.choice((3.0, 12.0, NEVER))}
    outage = Outage(rng.randint(1, 400), rng.choice((0.5, 3.0, 12.0, NEVER)))
    if name == "detector" and kind != "marks":
        trouble.detector = outage
    if name == "enhancer":
        trouble.enhancer = outage
    return trouble


@dataclass
class Run:
    """What came of one conversation, to be judged."""

    kind: str
    plan: list[Said]
    book: Book
    page: OriginalPage
    log: list[tuple[str, Any]] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    overs: list[events.ReplyOver] = field(default_factory=list)
    segments: list[Any] = field(default_factory=list)
    starts: list[events.TurnLLMAgentStartRequested] = field(default_factory=list)
    finals: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    trouble: Trouble = field(default_factory=Trouble)
    strict: bool = True  # the recogniser never fails: every word must arrive
    rtt: float = 0.0
    vanished: bool = False
    cuts: int = 0  # segments that went on in a new piece
    spoken_again: int = 0
    lasted_s: float = 0.0
    most: Counter[str] = field(default_factory=Counter)  # the fullest that a queue has been
    owners: dict[int, int] = field(default_factory=dict)  # chunk index -> turn
    offsets: dict[int, int] = field(default_factory=dict)  # chunk index -> its first sample

    def turn_of(self, index: int) -> int:
        return self.owners.get(index, 0)


async def converse(seed: int, kind: str) -> Run:
    rng = random.Random(f"{kind} {seed}")
    trouble = draw_trouble(random.Random(f"trouble {kind} {seed}"), kind)
    book, rtt = Book(), rng.choice((0.002, 0.02, 0.06, 0.18))
    # Whoever is never understood in time cannot free a model that hangs.
    slow = rng.random() < 0.1 and not (trouble.agent_hangs or trouble.tts_hangs)
    fails = (rng.randint(0, 2),) if rng.random() < 0.1 else ()
    asr = CodedASR(
        final_s=9.0 if slow else rng.choice((0.01, 0.05, 0.3, 1.0)),
        fails=fails,
        hangs=trouble.asr_hangs,
    )
    pieces = rng.choice(((10**9,), (4800,), (960,), (2400, 7, 4099), (48_000,), (441, 9600)))
    tts = CodedTTS(
        book,
        char_s=rng.uniform(0.03, 0.08),
        pieces=pieces,
        wait_s=rng.choice((0.001, 0.01, 0.05)) * max(1.0, min(pieces[0], 48_000) / 4800),
        fails=(rng.randint(1, 4),) if rng.random() < 0.06 else (),
        hangs=trouble.tts_hangs,
    )
    scripts: dict[int, list[Any]] = {}

    def script(turn_id: int) -> list[Any]:
        parts = scripts.setdefault(turn_id, draw_reply(rng))
        if turn_id in trouble.agent_hangs:
            parts.insert(turn_id % (len(parts) + 1), trouble.agent_hangs[turn_id])
        return parts

    far, lags = trouble.detector, trouble.enhancer
    vad = LoudnessVAD() if far is None else FarVAD(far)
    pipeline = DefaultPipeline(
        asr=asr,
        llm_agent=CodedAgent(book, script),
        tts=tts,
        vad=None if kind in ("marks", "smallest models") else vad,
        speech_enhancer=None if lags is None else FarEnhancer(lags),
    )
    if kind == "smallest models":
        slow = False
        pipeline = DefaultPipeline(
            asr=SmallASR(fails=fails),
            llm_agent=SmallAgent(book, script),
            tts=SmallTTS(book, char_s=tts.char_s, fails=tts.fails),
        )
    page = Device() if kind == "device" else OriginalPage()
    strict = not (slow or fails or trouble.asr_hangs or trouble.detector)
    run = Run(kind, draw_user(rng), book, page, trouble=trouble, strict=strict, rtt=rtt)
    config = CONFIG | {"segment_sec": rng.choice((30.0, 30.0, 1.5))}
    async with talk(pipeline, page, rtt=rtt, config=config) as (browser, server):
        _listen(server, run)
        server.session.spawn(_measure, server.session, run)
        for said in run.plan:
            browser.plan(said.at, said.frames)
        if rng.random() < 0.2:
            asked = events.TurnLLMAgentStartRequested(text="announce something")
            loop_later(rng.uniform(0.5, 8), server, asked)
        vanishes_at = trouble.vanishes_at
        with anyio.move_on_after(NEVER if vanishes_at is None else vanishes_at):
            await _act(browser, run, rng.uniform(0.0, 0.2))
            await _silence(server, browser)
            await _speak_again(server, browser, run)
            _judge_state(run, server)
            vanishes_at = None
        if vanishes_at is not None:
            run.vanished = True
            browser.vanish()
            await wait(lambda: not server.host.sessions, 20)
        run.lasted_s = browser.now - browser.began
        run.log, run.sent = browser.log, [item for _, item in server.transport.sent]
    _judge(run)
    return run


async def _measure(session: Any, run: Run) -> None:
    """How full every queue gets."""
    most, page = run.most, run.page
    while True:
        await anyio.sleep(0.1)
        playback = next(m for m in session.managers if hasattr(m, "_playback"))._playback
        ahead = sum(s.end - s.start for s in page.scheduled)
        ahead += sum(len(pcm) for _, pcm in page.queue) / (2 * RATE_OUT)
        lane = sum(segment.waiting_s for segment in session._asr._listening._live)
        for name, value in (
            ("seconds at the client", ahead),
            ("seconds before the gate", playback._buffer.samples / RATE_OUT),
            ("seconds before the recogniser", lane),
            ("seconds before the enhancer", session._enhancer._lane_s),
            ("seconds before the detector", sum(f.seconds for f in session._vad._lane)),
        ):
            most[name] = max(most[name], value)


def loop_later(delay_s: float, server: Server, event: events.BaseEvent) -> None:
    async def later() -> None:
        await anyio.sleep(delay_s)
        server.session.post(event)

    server.session.spawn(later)


def _listen(server: Server, run: Run) -> None:
    def on(kind: Any, to: list[Any]) -> None:
        server.session.subscribe(kind, to.append)

    on(events.ReplyOver, run.overs)
    on(events.TurnASRStartRequested, run.segments)
    on(events.VerificationResult, run.segments)
    server.session.subscribe(events.ASRResultFinal, lambda e: run.finals.append(e.text))

    def decided(event: events.Decision) -> None:
        run.cuts += event.rule == "5b"

    server.session.subscribe(events.Decision, decided)

    def started(event: events.TurnLLMAgentStartRequested) -> None:
        if event.turn_id:
            run.starts.append(event)

    server.session.subscribe(events.TurnLLMAgentStartRequested, started)
    sounding = [0]

    def begun(event: events.TTSStarted) -> None:
        sounding[0] = event.turn_id

    def sent(event: events.TTSChunkGenerated) -> None:
        run.owners[event.chunk_index] = sounding[0]

    server.session.subscribe(events.TTSStarted, begun)
    server.session.subscribe(events.TTSChunkGenerated, sent)


async def _act(browser: Browser, run: Run, onset: float) -> None:
    """The marks at their times, or nothing but the microphone."""
    began = browser.now
    marks = [] if run.kind == "device" else marks_of(run.plan, onset + FRAME_S)
    for at, start in marks:
        await anyio.sleep_until(began + at)
        browser.mark(start)
    await anyio.sleep_until(began + run.plan[-1].end + 1.0)


async def _silence(server: Server, browser: Browser) -> bool:
    """Until nothing has happened for a while; False when that does not come."""
    calm, patience_s = 0, FOREVER_S
    while patience_s > 0:
        await anyio.sleep(0.5)
        patience_s -= 0.5
        dialogue = server.session._dialogue
        assert dialogue is not None
        quiet = dialogue.segment == "none" and dialogue.reply == "idle" and not dialogue.holding
        calm = calm + 1 if quiet and not browser.page.scheduled else 0
        if calm == 4:
            return True
    return False


async def _speak_again(server: Server, browser: Browser, run: Run) -> None:
    """Where a model hangs, only the user can go on; and then it must go on."""
    for _ in range(4):
        if await _silence(server, browser):
            return
        if run.trouble.agent_hangs or run.trouble.tts_hangs:
            run.spoken_again += 1
            words = ["why", "tomorrow"]
            frames = [frame for word in words for frame in word_frames(word)]
            run.plan.append(Said(browser.now, frames, words))
            if run.kind == "device":
                await anyio.sleep(browser.plan(0.0, frames))
            else:
                await browser.say(frames)


# --- the judgement --------------------------------------------------------------------------------


def _judge_state(run: Run, server: Server) -> None:
    dialogue = server.session._dialogue
    assert dialogue is not None
    if (dialogue.segment, dialogue.reply, dialogue.holding) != ("none", "idle", False):
        run.faults.append(f"server: {dialogue.segment}, {dialogue.reply}, {dialogue.holding}")
    if run.page.marks and run.page.state != "idle":
        run.faults.append(f"page: {run.page.state}")
    if run.page.scheduled or run.page.queue:
        run.faults.append("the page holds sound that it does not play")


def _judge(run: Run) -> None:
    _place(run)
    _judge_turns(run)
    _judge_wire(run)
    _judge_queues(run)
    if not run.vanished:  # it may be gone before the verdict, the answer or the last word
        _judge_segments(run)
        _judge_words(run)
    for turn_id, reply in run.book.replies.items():
        _judge_sound(run, turn_id, reply)


def _place(run: Run) -> None:
    """Which sample of its reply each chunk began with: that of the one before, or earlier."""
    turn = end = 0
    restarted = False
    for action, data in run.log:
        if action == "start_tts":
            restarted = True
        elif action == "chunk" and any(data[1]):
            index, pcm = data
            if run.turn_of(index) != turn:
                turn, end, restarted = run.turn_of(index), 0, False
            start = position_of(turn, pcm, end)
            if restarted and start > end:
                start -= PERIOD
            run.offsets[index], restarted = start, False
            end = start + len(pcm.rstrip(b"\0")) // 2


def _judge_segments(run: Run) -> None:
    """A segment and its one verdict take turns."""
    events_ = [e for e in run.segments if not getattr(e, "resume", False)]
    for first, second in pairwise([*events_, None]):
        opens = isinstance(first, events.TurnASRStartRequested)
        if opens and not isinstance(second, events.VerificationResult):
            run.faults.append(f"segment {first.turn_id} has no verdict")
        if not opens and isinstance(second, events.VerificationResult):
            run.faults.append("a segment has two verdicts")


def _judge_turns(run: Run) -> None:
    begun = [e.turn_id for e in run.starts]
    if begun != list(range(1, len(begun) + 1)):
        run.faults.append(f"turns {begun}")
    if sorted(o.turn_id for o in run.overs) != begun:
        run.faults.append(f"of turns {begun} these are over: {[o.turn_id for o in run.overs]}")
    if [r.turn_id for r in run.book.records] != [o.turn_id for o in run.overs]:
        run.faults.append("what was committed is not what is over")


def _judge_words(run: Run) -> None:
    """Every word arrives once and in order, but for those that lie across a cut.

    What was said while the enhancer was waited for in vain may lose a word as well. Nobody asks
    anything, so backchannels and hesitations count only beside other words.
    """
    run.faults += [f"answered {text!r}" for text in run.finals if set(text.split()) <= FILLERS]
    if not run.strict:
        return
    said = [w for s in run.plan for w in s.words if w not in FILLERS]
    got = [w for text in run.finals for w in text.split() if w not in FILLERS]
    rest = iter(said)
    lost = run.cuts + (run.trouble.enhancer is not None)
    if not all(word in rest for word in got) or len(said) - len(got) > lost:
        run.faults.append(f"said {said}, understood {got}, cut {run.cuts} times")


def _judge_queues(run: Run) -> None:
    sentence = max((b - a for r in run.book.replies.values() for _, a, b in r.sentences), default=0)
    bounds = {
        "seconds at the client": AHEAD_S + 2 * CHUNK_S,  # the last chunk and the kicks
        "seconds before the gate": BUFFER_S + sentence / RATE_OUT,
        "seconds before the recogniser": LANE_S + 1.0,
        "seconds before the enhancer": CALL_S + 0.1,
        "seconds before the detector": CALL_S + 0.1,
    }
    for name, bound in bounds.items():
        if run.most[name] > bound:
            run.faults.append(f"{run.most[name]:g} {name}, the bound is {bound:g}")


def _judge_wire(run: Run) -> None:
    wrong = run.faults
    finished: set[int] = set()
    answered: set[int] = set()
    shown: set[int] = set()
    announced = {e.turn_id for e in run.starts if e.text == "announce something"}
    started = over = False
    index = last_asr = 0
    previous = ""
    for action, data in run.log:
        if action in ("update_asr", "finish_asr"):
            if data[0] < max(1, last_asr) or data[0] in finished:
                wrong.append(f"{action} of turn {data[0]} after {last_asr}")
            last_asr = data[0]
            if action == "finish_asr":
                finished.add(data[0])
        elif action in ("update_resp", "finish_resp"):
            if data[0] not in finished | announced:
                wrong.append(f"{action} of turn {data[0]} before its finish_asr")
            if data[0] in answered:
                wrong.append(f"{action} of turn {data[0]} after its finish_resp")
            (answered if action == "finish_resp" else shown).add(data[0])
        elif action == "start_tts":
            if started and not over:
                wrong.append("start_tts within a reply")
            started, over = True, False
        elif action == "stop_tts":
            started = False
        elif action == "chunk":
            if data[0] != index + 1 or not started:
                wrong.append(f"chunk {data[0]} after {index}, started: {started}")
            if len(data[1]) % 960 or not 960 <= len(data[1]) <= 19_200:
                wrong.append(f"chunk {data[0]} has {len(data[1])} bytes")
            index = data[0]
        elif action == "tts_finished":
            if over or not started or previous not in ("chunk", "latency_metrics"):
                wrong.append(f"tts_finished after {previous}")
            over = True
        previous = action
    if shown - answered and not run.vanished:
        wrong.append(f"no finish_resp of turns {shown - answered}")


def _judge_sound(run: Run, turn_id: int, reply: Reply) -> None:
    over = next((o for o in run.overs if o.turn_id == turn_id), None)
    if over is None:
        return
    position = generation = 0
    for piece in run.page.played:
        pcm = piece.pcm.rstrip(b"\0")
        if not pcm or run.turn_of(piece.index) != turn_id:
            continue
        offset = run.offsets[piece.index]
        again = piece.generation != generation and generation and position - offset < RATE_OUT // 4
        generation = piece.generation
        if offset > position and over.outcome != "interrupted":
            run.faults.append(f"turn {turn_id}: {offset - position} samples lost")
        if offset < position and not again:
            run.faults.append(f"turn {turn_id}: {position - offset} samples doubled")
        if counted(turn_id, offset, len(pcm) // 2) != pcm:
            run.faults.append(f"turn {turn_id}: spoilt samples")
        position = max(position, offset + len(pcm) // 2)
    if over.outcome == "done" and position < reply.samples:
        run.faults.append(f"turn {turn_id}: {reply.samples - position} samples never played")
    _judge_heard(run, reply, over, position)


def _judge_heard(run: Run, reply: Reply, over: events.ReplyOver, position: int) -> None:
    """History holds a prefix of the reply, and nothing that was not played."""
    if not reply.text.startswith(over.heard):
        run.faults.append(f"turn {reply.turn_id}: not a prefix: {over.heard!r}")
    if over.outcome == "done" and over.heard.strip() != reply.text.strip():
        run.faults.append(f"turn {reply.turn_id}: heard only {over.heard!r} of {reply.text!r}")
    # An estimate does not know the round trip. Whoever vanishes may have fallen silent just before,
    # with the mark still under way.
    slack = int((0.1 + run.rtt) * RATE_OUT) if over.estimated or run.vanished else 1
    place = 0
    for text, first, last in reply.sentences:
        place = reply.text.find(text, place)
        claimed = min(len(over.heard), place + len(text)) - place
        if claimed > 0 and first + (last - first) * claimed / len(text) > position + slack:
            run.faults.append(f"turn {reply.turn_id}: {over.heard!r} was not heard")
            return
        place += len(text)
