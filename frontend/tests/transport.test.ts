import assert from "node:assert/strict";
import { test } from "node:test";

import { parse, Transport } from "../src/transport.ts";
import { FakeClock, FakeSocket } from "./fakes.ts";

function setUp() {
  const clock = new FakeClock();
  const sockets: FakeSocket[] = [];
  const told: string[] = [];
  const clocks: [number, number][] = [];
  const connect = () => {
    sockets.push(new FakeSocket());
    return sockets.at(-1) as FakeSocket;
  };
  const transport = new Transport(
    connect,
    clock,
    {
      message: ({ action }) => told.push(action),
      audio: (piece) => told.push(`audio ${piece.byteLength}`),
      connection: (state, _retryAt, reason) => told.push(reason ? `${state}: ${reason}` : state),
      clock: (offset, roundTrip) => clocks.push([offset, roundTrip]),
    },
    () => 0.5,
  );
  const last = () => sockets.at(-1) as FakeSocket;
  return { clock, sockets, told, clocks, transport, last };
}

/** Answer the latest ping by a clock that is so many ms ahead. */
function answer(socket: FakeSocket, ahead = 0): void {
  const sent = socket.of("ping").at(-1)?.timestamp as number;
  const message = { client_timestamp: sent, server_recv_timestamp: sent + ahead };
  socket.receive({ action: "pong", ...message });
}

test("a lost connection is opened again, ever more slowly until one was accepted", () => {
  const { clock, sockets, transport, last } = setUp();
  transport.open();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 8; attempt++) {
    const before = clock.now();
    const count = sockets.length;
    last().end();
    while (sockets.length === count) clock.advance(10);
    waits.push(clock.now() - before);
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  last().open();
  transport.settled();
  last().end();
  clock.advance(250);
  assert.equal(sockets.length, 10);
});

test("a socket that opens but is closed before it is accepted does not reset the back-off", () => {
  const { clock, sockets, transport, last } = setUp();
  transport.open();
  for (let attempt = 0; attempt < 3; attempt++) {
    last().open();
    last().end();
    clock.advance(15_000);
  }
  last().open();
  last().end();
  clock.advance(1990);
  assert.equal(sockets.length, 4);
});

test("a network that is back is tried at once", () => {
  const { sockets, transport, last } = setUp();
  transport.open();
  last().end();
  transport.hurry();
  assert.equal(sockets.length, 2);
  transport.hurry();
  assert.equal(sockets.length, 2);
});

test("a socket that never opens is given up", () => {
  const { clock, told, transport } = setUp();
  transport.open();
  clock.advance(15_000);
  assert.deepEqual(told, ["connecting", "waiting"]);
});

test("pings go out at once, and then every 15 s", () => {
  const { clock, transport, last } = setUp();
  transport.open();
  last().open();
  clock.advance(0);
  assert.equal(last().of("ping").length, 1);
  for (let second = 0; second < 33; second++) {
    answer(last());
    clock.advance(1000);
  }
  assert.deepEqual(
    last().of("ping").map(({ timestamp }) => (timestamp as number) - FakeClock.WALL),
    [0, 1000, 3000, 18_000, 33_000],
  );
});

test("a silent server is left after two pings without an answer", () => {
  const { clock, told, transport, last } = setUp();
  transport.open();
  last().open();
  clock.advance(3000); // the last of the quick pings
  answer(last());
  clock.advance(15_000 + 10_000);
  assert.ok(!told.includes("waiting"));
  clock.advance(15_000);
  assert.equal(told.at(-1), "waiting");
});

test("whatever the server says is a sign of life", () => {
  const { clock, told, transport, last } = setUp();
  transport.open();
  last().open();
  for (let i = 0; i < 60; i++) {
    clock.advance(2000);
    last().receive({ action: "start_tts", data: "" });
  }
  assert.ok(!told.includes("waiting"));
});

test("a pong tells the offset of the clocks, and the server is told of it in seconds", () => {
  const { clock, clocks, transport, last } = setUp();
  transport.open();
  last().open();
  clock.advance(0);
  const sent = clock.wall();
  clock.advance(40);
  last().receive({ action: "pong", client_timestamp: sent, server_recv_timestamp: sent + 520 });
  assert.deepEqual(clocks, [[500, 40]]);
  const [sync] = last().of("clock_sync");
  assert.deepEqual(sync, {
    action: "clock_sync",
    client_send_ts: sent / 1000,
    server_recv_ts: (sent + 520) / 1000,
    client_recv_ts: (sent + 40) / 1000,
  });
});

test("one late pong does not move the offset", () => {
  const { clock, clocks, transport, last } = setUp();
  transport.open();
  last().open();
  clock.advance(0);
  answer(last(), 100);
  clock.advance(1000);
  answer(last(), 100);
  clock.advance(2000);
  const sent = clock.wall();
  clock.advance(400);
  last().receive({ action: "pong", client_timestamp: sent, server_recv_timestamp: sent + 100 });
  assert.equal(clocks.at(-1)?.[0], 100);
});

test("audio and messages go to their listeners, nonsense to nobody", () => {
  const { told, transport, last } = setUp();
  transport.open();
  last().open();
  last().receive(new ArrayBuffer(4));
  last().receive({ action: "start_tts", data: "" });
  for (const nonsense of ["", "{", "null", "[1]", '{"data":1}']) last().receive(nonsense);
  assert.deepEqual(told, ["connecting", "open", "audio 4", "start_tts"]);
});

test("nothing is sent into a socket that is not open", () => {
  const { transport, last } = setUp();
  assert.equal(transport.send({ action: "ping" }), false);
  transport.open();
  assert.equal(transport.send({ action: "ping" }), false);
  assert.equal(transport.sendAudio(new ArrayBuffer(2)), false);
  last().open();
  assert.equal(transport.sendAudio(new ArrayBuffer(2)), true);
});

test("speech is not piled up before a network that has fallen behind", () => {
  const { transport, last } = setUp();
  transport.open();
  last().open();
  last().bufferedAmount = 300_000;
  assert.equal(transport.sendAudio(new ArrayBuffer(1024)), false);
  assert.equal(transport.send({ action: "ping" }), true);
});

test("a close is for good, and leaves no socket and no timer", () => {
  const { clock, sockets, told, transport, last } = setUp();
  transport.open();
  last().open();
  clock.advance(0);
  transport.close();
  assert.equal(last().closed, true);
  assert.equal(clock.pending, 0);
  clock.advance(100_000);
  assert.equal(sockets.length, 1);
  assert.equal(told.at(-1), "closed");
});

test("a server that ends the session is not called again", () => {
  const { clock, sockets, told, transport, last } = setUp();
  transport.open();
  last().open();
  transport.settled();
  last().end(1000, "idle");
  clock.advance(100_000);
  assert.equal(sockets.length, 1);
  assert.equal(told.at(-1), "closed: idle");
});

test("a page that the server does not admit does not ask again", () => {
  const { clock, sockets, told, transport, last } = setUp();
  transport.open();
  last().open();
  last().end(1008, "this page may not connect");
  clock.advance(100_000);
  assert.equal(sockets.length, 1);
  assert.equal(told.at(-1), "closed: this page may not connect");
});

test("a client that was too slow connects again", () => {
  const { clock, sockets, transport, last } = setUp();
  transport.open();
  last().open();
  transport.settled();
  last().end(1008, "the client does not read");
  clock.advance(300);
  assert.equal(sockets.length, 2);
});

test("opening anew lets go of the old socket, and hears nothing more of it", () => {
  const { told, transport, sockets } = setUp();
  transport.open();
  sockets[0]?.open();
  transport.open();
  assert.equal(sockets[0]?.closed, true);
  sockets[0]?.receive({ action: "start_tts", data: "" });
  sockets[0]?.end();
  assert.deepEqual(told, ["connecting", "open", "connecting"]);
});

test("only an object with an action is a message", () => {
  assert.equal(parse('{"action":"start_tts"}')?.action, "start_tts");
  assert.equal(parse(new Blob()), null);
});
