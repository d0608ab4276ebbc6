// Well-behaved publishers and subscribers. What is published is numbered; each subscriber must get all of it, in order, once,
// however often it has to come back, and nothing else.
import { createHmac } from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { app, channels } from './target.js';
import { frame, handshake, opcode, Parser, text } from './websocket.js';

export const mark = 'ONLY-FOR-THE-GOOD'; // in each of their messages: nobody else may get it

// What message `number` of a channel says; its length varies.
export function message(channel, number) {
  const filling = `${mark} ${channel} ${number}. `;
  return JSON.stringify({
    channel,
    number,
    filling: filling.repeat(1 + ((number * 7919) % (number % 50 === 0 ? 200 : 12))),
  });
}

// --- publishing ------------------------------------------------------------------------------------------------------

// Says the next number of its channel again and again, under the same key, until the answer says that it is published.
export class Publisher {
  published = 0;
  repeated = 0;
  problems = [];
  #going = true;

  constructor(channel, send, pause) {
    this.channel = channel;
    this.done = this.#run(send, pause);
  }

  async #run(send, pause) {
    while (this.#going) {
      const number = this.published + 1;
      const status = await send(this.channel, message(this.channel, number), `${this.channel}:${number}`).catch(
        error => error.code ?? error.message,
      );
      if (status === 200 || status === 202) {
        this.published = number;
      } else {
        ++this.repeated;
        if (![503, 504].includes(status) && typeof status === 'number') {
          this.problems.push(`publishing number ${number} in ${this.channel} was answered with ${status}`);
        }
      }
      await sleep(pause);
    }
  }

  // What has begun is brought to its end.
  async stop() {
    this.#going = false;
    await this.done;
  }
}

// Each of these resolves to the status of the answer.
export const doors = {
  http: (port, path) => (channel, body, key) => post(http, { port, path: `${path}/${channel}` }, body, key),
  tls: (port, path) => (channel, body, key) =>
    post(https, { port, path: `${path}/${channel}`, rejectUnauthorized: false }, body, key),
  h2: (port, path) => {
    let session;
    return (channel, body, key) =>
      new Promise((resolve, reject) => {
        if (!session || session.closed || session.destroyed) {
          session = http2.connect(`http://127.0.0.1:${port}`);
          session.on('error', () => {});
        }
        const request = session.request({ ':method': 'POST', ':path': `${path}/${channel}`, 'idempotency-key': key });
        request.setTimeout(20_000, () => request.close());
        request.on('response', headers => resolve(headers[':status']));
        request
          .on('error', reject)
          .on('close', () => reject(new Error('closed')))
          .resume();
        request.end(body);
      });
  },
};

function post(module, options, body, key) {
  return new Promise((resolve, reject) => {
    const request = module.request(
      { host: '127.0.0.1', method: 'POST', timeout: 20_000, headers: { 'Idempotency-Key': key }, ...options },
      response =>
        response
          .on('error', reject)
          .on('end', () => resolve(response.statusCode))
          .resume(),
    );
    request
      .on('timeout', () => request.destroy(new Error('timeout')))
      .on('error', reject)
      .end(body);
  });
}

// Over the Pusher protocol, as a client that may publish.
export function realtimePublish(port) {
  let socket;
  let waiting; // for the answer to the one that is on its way
  let ref = 0;
  const connect = () =>
    new Promise((resolve, reject) => {
      socket = new Connection(
        net.connect(port, '127.0.0.1'),
        `/app/${app.key}?protocol=7`,
        {},
        (code, payload) => {
          const { event, data } = code === opcode.text ? JSON.parse(payload) : {};
          if (event === 'pusher:connection_established') {
            resolve();
          } else if ((event === 'realtime:ack' || event === 'realtime:error') && JSON.parse(data).ref === ref) {
            waiting?.(event === 'realtime:ack' ? 200 : JSON.parse(data).code);
          }
        },
        () => {
          socket = undefined;
          reject(new Error('closed'));
          waiting?.(503);
        },
      );
    });
  const send = async (channel, data, key) => {
    if (!socket) {
      await connect();
    }
    return new Promise(resolve => {
      waiting = resolve;
      setTimeout(resolve, 20_000, 504).unref();
      socket.send(text({ event: 'realtime:publish', data: { ref: ++ref, channel, event: 'message', data, key } }));
    });
  };
  return Object.defineProperties(send, {
    end: { value: () => socket?.end() },
    connected: { get: () => socket !== undefined },
  });
}

// A WebSocket that answers pings and closes. `onEnd` is called once, with the code of the Close frame, if there was one.
class Connection {
  constructor(socket, path, headers, onFrame, onEnd) {
    this.socket = socket;
    let code;
    const parser = new Parser((type, payload) => {
      if (type === opcode.ping) {
        this.send(frame(opcode.pong, payload));
      } else if (type === opcode.close) {
        code = payload.length > 1 ? payload.readUInt16BE(0) : 1005;
        this.send(frame(opcode.close, payload.subarray(0, 2)));
        socket.end();
      } else {
        onFrame(type, payload);
      }
    });
    socket.on('data', bytes => {
      parser.push(bytes);
      if (parser.head !== undefined && parser.status !== 101) {
        code = parser.status;
        socket.destroy();
      }
    });
    socket.on('error', () => {});
    socket.on('close', () => onEnd(code));
    socket.setNoDelay?.(true);
    socket.write(handshake(path, headers));
  }

  send(bytes) {
    if (this.socket.writable) {
      this.socket.write(bytes);
    }
  }

  end() {
    this.send(frame(opcode.close, Buffer.from([3, 232])));
    this.socket.end();
    this.socket.destroySoon();
  }
}

// --- subscribing -----------------------------------------------------------------------------------------------------

// Those that ask a client to come back, or say nothing at all, as a worker that was killed.
const comeBack = [undefined, 1005, 1012, 4200, 502, 503];

export class Subscriber {
  problems = [];
  connected = 0; // times
  next = Object.fromEntries(channels.map(channel => [channel, 1]));
  since = '';
  #going = true;

  // `connect(subscriber)` connects, and calls subscriber.lost() when the connection is gone; it returns a function that ends it.
  constructor(name, connect, subscribed = channels.slice(0, 4)) {
    this.name = name;
    this.channels = subscribed;
    this.connect = connect;
    this.#again();
  }

  #again() {
    ++this.connected;
    this.end = this.connect(this);
  }

  // `code`: what the other side said.
  lost(code) {
    if (!this.#going) {
      return;
    }
    if (!comeBack.includes(code)) {
      this.problem(`was told ${code}`);
    }
    setTimeout(() => this.#going && this.#again(), 20 + Math.random() * 200).unref();
  }

  got({ channel, data, id, event = 'message' }) {
    if (event !== 'message' || !(channel in this.next)) {
      this.problem(`got ${event} on ${channel}: ${String(data).slice(0, 200)}`);
      return;
    }
    const { number } = parsed(data);
    if (data !== message(channel, number)) {
      this.problem(`got something else on ${channel}: ${String(data).slice(0, 200)}`);
    } else if (number !== this.next[channel]) {
      this.problem(`got ${number} on ${channel} instead of ${this.next[channel]}`);
    }
    this.next[channel] = (number ?? this.next[channel]) + 1;
    this.since = id;
  }

  problem(what) {
    if (this.problems.length < 20) {
      this.problems.push(`${this.name} ${what}`);
    }
  }

  // Has it got all of these? From channel to number.
  has(published) {
    return this.channels.every(channel => this.next[channel] > published[channel]);
  }

  stop() {
    this.#going = false;
    this.end?.();
  }
}

function parsed(data) {
  try {
    return JSON.parse(data) ?? {};
  } catch {
    return {};
  }
}

const withSince = (path, since) => (since ? `${path}?since=${since}` : `${path}?since=earliest`);

export function webSocket(open, path, headers = {}) {
  return subscriber => {
    const connection = new Connection(
      open(),
      withSince(path, subscriber.since),
      { 'Sec-WebSocket-Protocol': 'realtime.json', ...headers },
      (code, payload) => subscriber.got(JSON.parse(payload)),
      code => subscriber.lost(code),
    );
    return () => connection.end();
  };
}

export const openTcp = port => () => net.connect(port, '127.0.0.1');
export const openTls = port => () =>
  tls.connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] });

// Event streams name the channel only in what we put into the data.
function eventReader(subscriber) {
  let rest = '';
  return piece => {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = {};
      for (const line of block.split('\n').filter(one => one !== '' && !one.startsWith(':'))) {
        const at = line.indexOf(':');
        fields[line.slice(0, at)] = line.slice(at + 1).replace(/^ /, '');
      }
      if (fields.data !== undefined || fields.event !== undefined) {
        subscriber.got({ ...fields, channel: parsed(fields.data).channel });
      }
    }
  };
}

export function eventStream(module, options) {
  return subscriber => {
    const headers = { Accept: 'text/event-stream', ...(subscriber.since && { 'Last-Event-ID': subscriber.since }) };
    const path = subscriber.since ? options.path : withSince(options.path);
    const request = module.request(
      { host: '127.0.0.1', agent: false, rejectUnauthorized: false, ...options, path, headers },
      response => {
        status = response.statusCode === 200 ? undefined : response.statusCode;
        response
          .setEncoding('utf8')
          .on('data', eventReader(subscriber))
          .on('error', () => {});
      },
    );
    let status;
    request
      .on('error', () => {})
      .on('close', () => subscriber.lost(status))
      .end();
    return () => request.destroy();
  };
}

export function http2EventStream(url, path) {
  return subscriber => {
    const session = http2.connect(url, { rejectUnauthorized: false });
    const headers = { ':path': subscriber.since ? path : withSince(path), accept: 'text/event-stream' };
    const request = session.request(subscriber.since ? { ...headers, 'last-event-id': subscriber.since } : headers);
    let status;
    request.on('response', answer => {
      status = answer[':status'] === 200 ? undefined : answer[':status'];
    });
    request
      .setEncoding('utf8')
      .on('data', eventReader(subscriber))
      .on('error', () => {})
      .on('close', () => session.destroy());
    session.on('error', () => {}).on('close', () => subscriber.lost(status));
    return () => session.destroy();
  };
}

// Asks again as soon as it is answered.
export function poller(module, options) {
  return subscriber => {
    const request = module.request(
      {
        host: '127.0.0.1',
        rejectUnauthorized: false,
        agent: false,
        ...options,
        path: withSince(options.path, subscriber.since),
      },
      response => {
        let body = '';
        response
          .setEncoding('utf8')
          .on('data', piece => {
            body += piece;
          })
          .on('error', () => {})
          .on('end', () => {
            if (response.statusCode === 200) {
              parsed(body).forEach?.(event => subscriber.got(event));
            }
            subscriber.since = response.headers['realtime-last-id'] ?? subscriber.since;
            subscriber.lost([200, 204].includes(response.statusCode) ? undefined : response.statusCode);
          });
      },
    );
    request.on('error', () => subscriber.lost()).end();
    return () => request.destroy();
  };
}

export function authorization(socketId, channel, data, { key, secret } = app) {
  const signed = `${socketId}:${channel}${data === undefined ? '' : `:${data}`}`;
  return {
    auth: `${key}:${createHmac('sha256', secret).update(signed).digest('hex')}`,
    ...(data !== undefined && { channel_data: data }),
  };
}

export const lobby = 'presence-lobby';

// A client of the Pusher protocol that resumes, and is a member of the lobby.
export function pusher(open, user) {
  return subscriber => {
    const connection = new Connection(
      open(),
      `/app/${app.key}?protocol=7&client=js`,
      {},
      (code, payload) => {
        const { event, channel, data, id } = JSON.parse(payload);
        if (event === 'pusher:connection_established') {
          const member = authorization(JSON.parse(data).socket_id, lobby, JSON.stringify({ user_id: user }));
          connection.send(text({ event: 'pusher:subscribe', data: { channel: lobby, ...member } }));
          for (const name of subscriber.channels) {
            connection.send(
              text({
                event: 'pusher:subscribe',
                data: { channel: name, since: subscriber.positions?.[name] ?? 'earliest' },
              }),
            );
          }
        } else if (event === 'pusher_internal:subscription_succeeded') {
          if (JSON.parse(data).recovered === false) {
            subscriber.problem(`could not resume ${channel} from ${subscriber.positions?.[channel]}`);
          }
        } else if (event === 'pusher:error') {
          comeBack.includes(data.code) || subscriber.problem(`was told ${JSON.stringify(data)}`);
        } else if (channel === lobby) {
          if (!['pusher_internal:member_added', 'pusher_internal:member_removed'].includes(event)) {
            subscriber.problem(`got ${event} in the lobby`);
          }
        } else if (event !== 'pusher_internal:subscription_count') {
          subscriber.got({ event, channel, data, id });
          (subscriber.positions ??= {})[channel] = id;
        }
      },
      code => subscriber.lost(code),
    );
    return () => connection.end();
  };
}
