// One visit of somebody hostile: what it opens is closed, one way or another, when it is over.
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { mark } from './citizens.js';
import { handshake, Parser, requestHead } from './websocket.js';

export class Visit {
  answers = 0; // times that something came back
  problems = [];
  #sockets = new Set();
  #over = false;

  // At `end` (of Date.now()) it should be over; one that lasts longer is no mistake, one that hangs is.
  constructor(target, random, end) {
    this.target = target;
    this.random = random;
    this.end = end;
    this.name = random.word(6); // for channels of its own
  }

  get over() {
    return this.#over || Date.now() >= this.end;
  }

  problem(text) {
    if (this.problems.length < 5) {
      this.problems.push(text);
    }
  }

  // Up to so many milliseconds; less if the visit ends before.
  pause(milliseconds) {
    return sleep(Math.max(0, Math.min(milliseconds, this.end - Date.now())));
  }

  // Until the condition holds, or the visit ends.
  async until(condition) {
    while (!condition() && !this.over) {
      await sleep(10);
    }
    return condition();
  }

  // A connection to one of the target's ports. It reads unless it is told pause(), and `onData` gets what comes. Now and then
  // it is reset at some point.
  tcp(port = 'plain', onData = () => {}) {
    return this.#track(net.connect(this.target.ports[port], '127.0.0.1'), onData);
  }

  tls(onData = () => {}, options = {}) {
    return this.#track(
      tls.connect({ host: '127.0.0.1', port: this.target.ports.tls, rejectUnauthorized: false, ...options }),
      onData,
    );
  }

  #track(socket, onData) {
    let tail = '';
    let resetAfter = this.random.chance(0.08) ? this.random.int(1, 20_000) : Infinity;
    this.#sockets.add(socket);
    socket.setNoDelay?.(true);
    socket.received = 0;
    socket.on('data', bytes => {
      if (socket.received === 0) {
        ++this.answers;
      }
      socket.received += bytes.length;
      const seen = tail + bytes.toString('latin1');
      if (seen.includes(mark)) {
        this.problem(`got what was for others: ${seen.slice(Math.max(0, seen.indexOf(mark) - 50)).slice(0, 150)}`);
      }
      tail = seen.slice(-mark.length);
      onData(bytes);
      resetAfter -= bytes.length;
      if (resetAfter < 0) {
        this.leave(socket, 'reset');
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      socket.gone = true;
      this.#sockets.delete(socket);
    });
    return socket;
  }

  // Writes what can still be written.
  write(socket, bytes) {
    if (!socket.gone && socket.writable && !this.#over) {
      socket.write(bytes);
    }
  }

  // In pieces that end anywhere.
  async writeInPieces(socket, bytes, most = 20) {
    for (let at = 0; at < bytes.length && !this.over && !socket.gone;) {
      const end = at + this.random.int(1, Math.max(2, Math.ceil(bytes.length / most)));
      this.write(socket, bytes.subarray(at, end));
      at = end;
      await this.pause(this.random.int(3));
    }
  }

  // A reset after an end would leave Node's handle open for ever.
  leave(socket, how = this.random.pick(['end', 'destroy', 'reset'])) {
    if (how === 'end') {
      socket.end();
      setTimeout(() => socket.destroy(), 200).unref();
    } else if (
      how === 'reset' &&
      socket.resetAndDestroy &&
      !socket.encrypted &&
      !socket.writableEnded &&
      !socket.connecting
    ) {
      socket.resetAndDestroy();
    } else {
      socket.destroy();
    }
  }

  finish() {
    this.#over = true;
    this.#sockets.forEach(socket => this.leave(socket));
  }

  // --- what many do ------------------------------------------------------------------------------------------------

  // A request with a body, if there is one, as HTTP/1.1.
  request(method, path, body, headers = {}) {
    const all = { Host: 'localhost', ...(body !== undefined && { 'Content-Length': Buffer.byteLength(body) }), ...headers };
    return Buffer.concat([Buffer.from(requestHead(method, path, all), 'latin1'), Buffer.from(body ?? '')]);
  }

  // Resolves to the status of the answer; undefined if there was none.
  async ask(method, path, body, headers = {}, port = 'plain') {
    let head = '';
    const socket = this.tcp(port, bytes => {
      head = (head + bytes.toString('latin1')).slice(0, 4000);
    });
    this.write(socket, this.request(method, path, body, { Connection: 'close', ...headers }));
    await this.until(() => socket.gone || head.includes('\r\n\r\n'));
    this.leave(socket, 'end');
    return Number(/^HTTP\/1\.\d (\d+)/.exec(head)?.[1]) || undefined;
  }

  // Several messages in a channel, over one connection.
  async publish(channel, bodies, place = '/pub/') {
    let came = '';
    let answered = 0;
    const socket = this.tcp('plain', bytes => {
      came += bytes.toString('latin1');
      answered += came.split('HTTP/1.1 ').length - 1;
      came = came.slice(-8);
    });
    for (const body of bodies) {
      this.write(socket, this.request('POST', `${place}${channel}`, body));
    }
    await this.until(() => socket.gone || answered >= bodies.length);
    this.leave(socket, 'end');
  }

  // A WebSocket after its handshake: a socket with `frames`, [opcode, payload] of what came. Undefined if there is none.
  async webSocket(path, { headers = {}, port = 'plain', keep = 200 } = {}) {
    const frames = [];
    const parser = new Parser((code, payload) => {
      if (frames.length < keep || code === 8) {
        frames.push([code, Buffer.from(payload)]);
      }
    });
    const take = bytes => {
      try {
        parser.push(bytes);
      } catch (error) {
        this.problem(`got a frame that cannot be read: ${error.message}`);
      }
    };
    const socket = port === 'tls' ? this.tls(take, { ALPNProtocols: ['http/1.1'] }) : this.tcp(port, take);
    this.write(socket, handshake(path, headers));
    await this.until(() => socket.gone || parser.head !== undefined);
    socket.frames = frames;
    socket.status = parser.status;
    return parser.status === 101 && !socket.gone ? socket : undefined;
  }

  // One of the Pusher protocol that is established, with `socketId`.
  async pusher(key, options) {
    const socket = await this.webSocket(`/app/${key}?protocol=7`, options);
    if (!socket || !(await this.until(() => socket.gone || socket.frames.length > 0))) {
      return undefined;
    }
    try {
      socket.socketId = JSON.parse(JSON.parse(socket.frames[0]?.[1]).data).socket_id;
    } catch {
      return undefined; // refused, or gone
    }
    return socket;
  }
}
