// HTTP/2 frame by frame (RFC 9113), without a table of headers: streams that no library would open, read or leave like that.
export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9,
};
export const flag = { endStream: 1, endHeaders: 4 };

export function frame(kind, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = kind;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const number = (value, bytes = 4) => {
  const out = Buffer.alloc(bytes);
  out.writeUIntBE(value, 0, bytes);
  return out;
};

// A header as a literal without indexing.
function header([name, value]) {
  const length = text => {
    const size = Buffer.byteLength(text, 'latin1');
    return size < 127 ? [size] : [127, ...varint(size - 127)];
  };
  return Buffer.concat([
    Buffer.from([0, ...length(name)]),
    Buffer.from(name, 'latin1'),
    Buffer.from(length(value)),
    Buffer.from(value, 'latin1'),
  ]);
}

function varint(value) {
  const out = [];
  for (; value >= 128; value >>= 7) {
    out.push((value & 127) | 128);
  }
  return [...out, value];
}

export class Http2 {
  streams = new Map(); // number → { status line seen, bytes, ended }
  #next = 1;
  #rest = Buffer.alloc(0);

  // `window`: how much each stream may send before it is given more.
  constructor(visit, port, { window = 65535, connectionWindow = 0x3fff0000 } = {}) {
    this.visit = visit;
    const onData = bytes => this.#push(bytes);
    this.socket = port === 'tls' ? visit.tls(onData, { ALPNProtocols: ['h2'] }) : visit.tcp(port, onData);
    visit.write(
      this.socket,
      Buffer.concat([
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        frame(type.settings, 0, 0, Buffer.concat([number(4, 2), number(window)])),
        frame(type.window, 0, 0, number(connectionWindow)),
      ]),
    );
  }

  #push(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) {
        return;
      }
      const [kind, flags, number] = [this.#rest[3], this.#rest[4], this.#rest.readUInt32BE(5)];
      this.#rest = this.#rest.subarray(9 + length);
      const stream = this.streams.get(number);
      if (kind === type.settings && !(flags & 1)) {
        this.send(frame(type.settings, 1, 0));
      } else if (stream) {
        stream.bytes += kind === type.data ? length : 0;
        stream.answered ||= kind === type.headers;
        stream.ended ||=
          kind === type.reset || ((kind === type.data || kind === type.headers) && (flags & flag.endStream) !== 0);
      }
    }
  }

  send(bytes) {
    this.visit.write(this.socket, bytes);
  }

  // Begins a request; its number.
  open(path, { method = 'GET', headers = {}, more = false } = {}) {
    const stream = this.#next;
    this.#next += 2;
    this.streams.set(stream, { bytes: 0, answered: false, ended: false });
    const all = { ':method': method, ':scheme': 'http', ':path': path, ':authority': 'localhost', ...headers };
    this.send(
      frame(
        type.headers,
        flag.endHeaders | (more ? 0 : flag.endStream),
        stream,
        Buffer.concat(Object.entries(all).map(header)),
      ),
    );
    return stream;
  }

  events(path) {
    return this.open(path, { headers: { accept: 'text/event-stream' } });
  }

  data(stream, bytes, end = false) {
    this.send(frame(type.data, end ? flag.endStream : 0, stream, Buffer.from(bytes)));
  }

  grant(stream, bytes) {
    this.send(frame(type.window, 0, stream, number(bytes)));
  }

  reset(stream, code = 8) {
    this.send(frame(type.reset, 0, stream, number(code)));
  }

  goAway(last = 0) {
    this.send(frame(type.goaway, 0, 0, Buffer.concat([number(last), number(0)])));
  }
}
