// WebSockets byte by byte, for those who keep to the protocol and for those who do not.
import { inflateRawSync } from 'node:zlib';

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 };

// One frame of a client. `length` is what the header says, if it is to lie; without `mask` it is not masked.
export function frame(code, payload = '', { fin = true, rsv = 0, mask = 0x01020304, length } = {}) {
  const data = Buffer.from(payload);
  const said = length ?? data.length;
  const masked = mask === undefined ? 0 : 0x80;
  let head;
  if (said < 126) {
    head = Buffer.from([0, masked | said]);
  } else if (said < 65536) {
    head = Buffer.from([0, masked | 126, said >> 8, said & 255]);
  } else {
    head = Buffer.alloc(10);
    head[1] = masked | 127;
    head.writeBigUInt64BE(BigInt(said), 2);
  }
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | code;
  if (mask === undefined) {
    return Buffer.concat([head, data]);
  }
  const key = Buffer.alloc(4);
  key.writeUInt32BE(mask);
  for (let i = 0; i < data.length; ++i) {
    data[i] ^= key[i & 3];
  }
  return Buffer.concat([head, key, data]);
}

export const text = message => frame(opcode.text, typeof message === 'string' ? message : JSON.stringify(message));

export function closeFrame(code, reason = '') {
  const data = Buffer.alloc(2 + Buffer.byteLength(reason));
  data.writeUInt16BE(code);
  data.write(reason, 2);
  return frame(opcode.close, data);
}

// A header with several values has a line for each; one that is undefined has none.
export function requestHead(method, path, headers) {
  const lines = Object.entries(headers)
    .filter(([, value]) => value !== undefined)
    .flatMap(([name, value]) => [value].flat().map(one => `${name}: ${one}\r\n`));
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`;
}

export function handshake(path, headers = {}) {
  const all = {
    Host: 'localhost',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Version': 13,
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  };
  return requestHead('GET', path, all);
}

// Takes what a server sends, in any pieces. `onFrame(opcode, payload)` gets each whole message or control frame.
export class Parser {
  #bytes = Buffer.alloc(0);
  #parts = [];
  #code = 0;
  #deflated = false;
  head; // of the answer to the handshake, once it is there

  constructor(onFrame) {
    this.onFrame = onFrame;
  }

  get status() {
    return Number(/^HTTP\/1\.[01] (\d+)/.exec(this.head)?.[1] ?? 0);
  }

  push(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    if (this.head === undefined) {
      const end = this.#bytes.indexOf('\r\n\r\n');
      if (end === -1) {
        return;
      }
      this.head = this.#bytes.subarray(0, end).toString('latin1');
      this.#bytes = this.#bytes.subarray(end + 4);
    }
    while (this.status === 101 && this.#frame());
  }

  #frame() {
    const bytes = this.#bytes;
    if (bytes.length < 2) {
      return false;
    }
    let length = bytes[1] & 127;
    let begin = 2;
    if (length === 126) {
      begin = 4;
      length = bytes.length < begin ? 0 : bytes.readUInt16BE(2);
    } else if (length === 127) {
      begin = 10;
      length = bytes.length < begin ? 0 : Number(bytes.readBigUInt64BE(2));
    }
    if (bytes.length < begin + length) {
      return false;
    }
    const code = bytes[0] & 15;
    const payload = bytes.subarray(begin, begin + length);
    this.#bytes = bytes.subarray(begin + length);
    if (code >= 8) {
      this.onFrame(code, payload);
      return true;
    }
    if (code !== 0) {
      this.#code = code;
      this.#deflated = (bytes[0] & 0x40) !== 0;
      this.#parts = [];
    }
    this.#parts.push(payload);
    if (bytes[0] & 0x80) {
      const whole = Buffer.concat(this.#parts);
      this.#parts = [];
      this.onFrame(
        this.#code,
        this.#deflated ? inflateRawSync(Buffer.concat([whole, Buffer.from([0, 0, 255, 255])]), { finishFlush: 2 }) : whole,
      );
    }
    return true;
  }
}
