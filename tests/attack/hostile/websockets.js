// WebSockets that break the protocol, or keep to it and are a nuisance.
import { deflateRawSync } from 'node:zlib';
import { closeFrame, frame, handshake, opcode, text } from '../support/websocket.js';

const half = (code, payload) => frame(code, payload, { fin: false });
const deflate = { 'Sec-WebSocket-Extensions': 'permessage-deflate' };
const squeezed = bytes => deflateRawSync(bytes, { finishFlush: 2 }).subarray(0, -4);

const bomb = squeezed(Buffer.alloc(30 * 1024 * 1024));
const fine = squeezed(Buffer.from('fine '.repeat(1000)));

// What breaks the protocol or a limit, and the close code that it must be answered with.
const breaches = [
  [1002, () => frame(3, 'x')],
  [1002, () => frame(11, 'x')],
  [1002, () => frame(opcode.text, 'x', { rsv: 2 })],
  [1002, () => frame(opcode.text, 'x', { rsv: 4 })],
  [1002, () => frame(opcode.text, 'x', { mask: undefined })],
  [1002, () => frame(opcode.ping, 'x', { fin: false })],
  [1002, () => frame(opcode.ping, 'x'.repeat(126))],
  [1002, () => frame(opcode.continuation, 'x')],
  [1002, () => Buffer.concat([half(opcode.text, 'x'), frame(opcode.text, 'y')])],
  [1002, () => frame(opcode.close, 'x')],
  [1002, () => closeFrame(1005)],
  [1002, () => closeFrame(999)],
  [1007, () => frame(opcode.text, Buffer.from([0xc3, 0x28]))],
  [1007, () => frame(opcode.text, Buffer.from([0xed, 0xa0, 0x80]))],
  [1007, () => Buffer.concat([half(opcode.text, Buffer.from([0xf0, 0x90])), frame(opcode.continuation, 'x')])],
  [1007, () => frame(opcode.close, Buffer.from([3, 232, 0xff]))],
  [1009, () => frame(opcode.binary, Buffer.alloc(70_000))],
  [1009, () => frame(opcode.binary, '', { length: 2 ** 40 })],
  [1009, () => Buffer.concat([half(opcode.binary, Buffer.alloc(60_000)), frame(opcode.continuation, Buffer.alloc(60_000))])],
];

export const webSockets = {
  // Each must be told why, and closed at once: not when a time-out has come.
  async 'breaches-of-the-protocol'(visit) {
    for (const [code, bytes] of visit.random.shuffled(breaches).slice(0, 6)) {
      const socket = await visit.webSocket(`/ws/${visit.name}`);
      if (!socket) {
        continue;
      }
      visit.write(socket, bytes());
      visit.write(socket, visit.random.chance(0.5) ? text('more') : '');
      const closes = () => socket.frames.find(([kind]) => kind === opcode.close);
      await visit.until(() => socket.gone || closes());
      const told = closes()?.[1];
      if (told?.length > 1 && told.readUInt16BE(0) !== code) {
        visit.problem(`closed with ${told.readUInt16BE(0)} instead of ${code}`);
      }
      const since = Date.now();
      await visit.until(() => socket.gone || Date.now() - since > 2500);
      if (!socket.gone && Date.now() - since > 2500) {
        visit.problem(`still open 2.5 s after the Close frame (${code})`);
      }
    }
  },

  async 'closes-of-every-code'(visit) {
    for (const code of visit.random.shuffled([1000, 1001, 1003, 1008, 1011, 1012, 3000, 4000, 4999]).slice(0, 4)) {
      const socket = await visit.webSocket(`/ws/${visit.name}`);
      if (socket) {
        visit.write(socket, closeFrame(code, 'because'.repeat(visit.random.int(10))));
        visit.write(socket, visit.random.chance(0.5) ? closeFrame(code) : text('after the end'));
        await visit.until(() => socket.gone);
      }
    }
  },

  // Closed by us for a message where none is taken, or too many.
  async 'messages-where-none-may-be'(visit) {
    const quiet = await visit.webSocket(`/quiet/${visit.name}`);
    const slow = await visit.webSocket(`/slowly/${visit.name}`);
    for (let i = 0; i < 30; ++i) {
      quiet && visit.write(quiet, text('psst'));
      slow && visit.write(slow, text(`number ${i}`));
    }
    await visit.until(() => (!quiet || quiet.gone) && (!slow || slow.gone));
  },

  async 'half-messages'(visit) {
    const whole = frame(opcode.binary, Buffer.alloc(60_000));
    const sockets = [];
    for (let i = 0; i < 8; ++i) {
      const socket = await visit.webSocket(visit.random.pick([`/ws/${visit.name}`, '/app/shopkey?protocol=7']));
      if (socket) {
        visit.write(socket, whole.subarray(0, visit.random.int(1, whole.length)));
        sockets.push(socket);
      }
    }
    while (!visit.over) {
      sockets.forEach(socket => visit.write(socket, 'x'));
      await visit.pause(100);
    }
  },

  async 'floods-of-pings-unread'(visit) {
    const socket = await visit.webSocket(`/ws/${visit.name}`, { port: visit.random.pick(['plain', 'narrow', 'tls']) });
    socket?.pause();
    for (let i = 0; socket && i < 30 && !visit.over; ++i) {
      visit.write(
        socket,
        Buffer.concat(Array(1000).fill(frame(visit.random.pick([9, 9, 10]), 'x'.repeat(visit.random.int(30))))),
      );
      await visit.pause(10);
    }
    await visit.pause(300);
    socket?.resume();
    await visit.pause(300);
  },

  async 'fragments-of-one-byte'(visit) {
    const socket = await visit.webSocket(`/ws/${visit.name}`);
    if (!socket) {
      return;
    }
    const parts = [half(opcode.text, '')];
    for (let i = 0; i < 5000; ++i) {
      parts.push(half(opcode.continuation, 'x'));
      if (i % 100 === 0) {
        parts.push(frame(opcode.ping, `${i}`));
      }
    }
    await visit.writeInPieces(socket, Buffer.concat(parts));
    visit.write(socket, frame(opcode.continuation, visit.random.chance(0.5) ? '' : 'y'.repeat(70_000)));
    await visit.until(() => socket.gone || socket.frames.some(([kind]) => kind !== opcode.pong));
  },

  async 'bombs-and-rubbish-deflated'(visit) {
    const messages = [
      () => frame(opcode.binary, bomb, { rsv: 4 }),
      () => frame(opcode.text, fine, { rsv: 4 }),
      () => frame(opcode.text, visit.random.mutated(fine), { rsv: 4 }),
      () => frame(opcode.text, visit.random.bytes(500), { rsv: 4 }),
      () => frame(opcode.text, '', { rsv: 4 }),
      () =>
        Buffer.concat([
          frame(opcode.text, fine.subarray(0, 10), { rsv: 4, fin: false }),
          frame(opcode.continuation, fine.subarray(10), { rsv: 4 }),
        ]),
      () =>
        Buffer.concat([
          frame(opcode.text, fine.subarray(0, 5), { rsv: 4, fin: false }),
          frame(opcode.ping, 'x', { rsv: 4 }),
        ]),
      () =>
        Buffer.concat([
          frame(opcode.text, fine.subarray(0, 9), { rsv: 4, fin: false }),
          frame(opcode.continuation, fine.subarray(9)),
        ]),
    ];
    for (let i = 0; i < 5 && !visit.over; ++i) {
      const offer = visit.random.pick([
        deflate,
        deflate,
        {},
        { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_max_window_bits=8, x; y="z"' },
      ]);
      const socket = await visit.webSocket(`/deflated/${visit.name}`, { headers: offer });
      if (socket) {
        visit.write(socket, visit.random.pick(messages)());
        await visit.until(() => socket.gone || socket.frames.length > 0);
      }
    }
  },

  async 'frames-with-bytes-changed'(visit) {
    const sound = Buffer.concat([
      text('one'),
      half(opcode.text, 'tw'),
      frame(opcode.ping, 'p'),
      frame(opcode.continuation, 'o'),
      frame(opcode.binary, visit.random.bytes(300)),
      text('x'.repeat(70)),
      closeFrame(1000, 'bye'),
    ]);
    for (let i = 0; i < 6 && !visit.over; ++i) {
      const socket = await visit.webSocket(
        visit.random.pick([`/ws/${visit.name}`, '/app/shopkey', `/deflated/${visit.name}`]),
        { headers: deflate },
      );
      if (socket) {
        await visit.writeInPieces(socket, visit.random.mutated(sound));
        visit.write(socket, visit.random.chance(0.3) ? visit.random.bytes(2000) : '');
        await visit.pause(50);
        visit.leave(socket);
      }
    }
  },

  async 'handshakes-of-all-kinds'(visit) {
    const odd = [
      { Connection: ['keep-alive', 'Upgrade'] },
      { 'Sec-WebSocket-Key': 'short' },
      { 'Sec-WebSocket-Key': undefined },
      { 'Sec-WebSocket-Version': 7 },
      { Upgrade: 'WebSocket, h2c' },
      { Connection: '\tUpgrade\t' },
      { Origin: 'http://else.where' },
      { 'Sec-WebSocket-Protocol': 'a, realtime.json,,b' },
      { 'Sec-WebSocket-Protocol': 'x'.repeat(3000) },
      { 'Content-Length': 5 },
      { 'Transfer-Encoding': 'chunked' },
      { 'Sec-WebSocket-Extensions': `permessage-deflate${'; a=b'.repeat(200)}` },
      { Host: '' },
    ];
    for (let i = 0; i < 8 && !visit.over; ++i) {
      const bytes = Buffer.from(handshake(`/ws/${visit.name}`, visit.random.pick(odd)));
      const socket = visit.tcp('plain');
      const cut = visit.random.chance(0.2) ? visit.random.int(bytes.length) : bytes.length;
      await visit.writeInPieces(
        socket,
        (visit.random.chance(0.4) ? visit.random.mutated(bytes) : bytes).subarray(0, cut),
        4,
      );
      visit.write(
        socket,
        Buffer.concat([
          text('at once'),
          visit.random.chance(0.2) ? frame(opcode.binary, Buffer.alloc(9000)) : text('again'),
        ]),
      );
      await visit.pause(60);
      visit.leave(socket);
    }
  },

  // It asks for more than its buffer takes, and does not read.
  async 'slow-readers'(visit) {
    const socket = await visit.webSocket(`/ws/long.${visit.name}`, { port: visit.random.pick(['narrow', 'tls']) });
    if (!socket) {
      return;
    }
    socket.pause();
    await visit.publish(`long.${visit.name}`, Array(32).fill('x'.repeat(50_000)));
    await visit.pause(visit.random.int(1000));
    for (let i = 0; i < 10 && !visit.over; ++i) {
      socket.resume();
      await visit.pause(5);
      socket.pause();
      await visit.pause(20);
    }
    const again = await visit.webSocket(`/ws/long.${visit.name}?since=earliest`, { port: 'narrow' });
    again?.pause();
    await visit.pause(300);
  },

  async 'publishers-that-do-not-stop'(visit) {
    const socket = await visit.webSocket(`/ws/${visit.name}`, { headers: { 'Sec-WebSocket-Protocol': 'realtime.json' } });
    for (let i = 0; socket && i < 20 && !visit.over; ++i) {
      visit.write(
        socket,
        Buffer.concat(Array.from({ length: 25 }, (_, n) => text(`${i}.${n} ${'y'.repeat(visit.random.int(300))}`))),
      );
      await visit.pause(20);
    }
  },
};
