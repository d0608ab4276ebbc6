// Chance that can be had again: the same seed gives the same choices.
import { createHash } from 'node:crypto';

export class Random {
  #state;

  constructor(seed) {
    this.#state = createHash('sha256').update(String(seed)).digest().readUInt32LE(0);
  }

  // 0 <= x < 1 (mulberry32).
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 0x100000000;
  }

  // From 0 to `end` - 1, or from `begin` to `end` - 1.
  int(begin, end) {
    return end === undefined ? Math.floor(this.next() * begin) : begin + Math.floor(this.next() * (end - begin));
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[this.int(list.length)];
  }

  shuffled(list) {
    const copy = [...list];
    for (let i = copy.length - 1; i > 0; --i) {
      const j = this.int(i + 1);
      [copy[i], copy[j]] = [copy[j], copy[i]];
    }
    return copy;
  }

  bytes(length) {
    return Buffer.from({ length }, () => this.int(256));
  }

  word(length = 8) {
    return Array.from({ length }, () => 'abcdefghijklmnopqrstuvwxyz0123456789'[this.int(36)]).join('');
  }

  // A copy in which some bytes are others, are missing, or come twice.
  mutated(bytes, times = this.int(1, 6)) {
    let copy = Buffer.from(bytes);
    for (let i = 0; i < times && copy.length > 0; ++i) {
      const at = this.int(copy.length);
      const kind = this.int(4);
      if (kind < 2) {
        copy[at] = kind === 0 ? this.int(256) : copy[at] ^ (1 << this.int(8));
      } else {
        const end = at + this.int(1, 20);
        copy = Buffer.concat([copy.subarray(0, kind === 2 ? at : end), copy.subarray(kind === 2 ? end : at)]);
      }
    }
    return copy;
  }
}
