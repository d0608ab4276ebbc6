// A WebSocket on the Pusher endpoint without an SDK (npm `ws`): every frame as it came, and any frame may be sent.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import WebSocket from 'ws';
import { eventually } from '../../browser/support/nginx.js';
import { app } from './app.js';

export function sign(text, secret = app.secret) {
  return createHmac('sha256', secret).update(text).digest('hex');
}

export class Raw {
  // `target` is the request target; the rest are options of `ws`.
  constructor(shop, { key = app.key, query = 'protocol=7&client=js&version=8.6.0&flash=false', protocols = [],
    target = `/app/${key}?${query}`, ...options } = {}) {
    this.shop = shop;
    this.frames = [];
    this.seen = new Set();
    this.pongs = [];
    this.socket = new WebSocket(`ws://127.0.0.1:${shop.port}${target}`, protocols,
      { perMessageDeflate: false, ...options });
    this.socket.on('upgrade', response => { this.upgrade = response; });
    this.socket.on('message', (data, binary) => {
      assert.equal(binary, false);
      this.frames.push({ text: data.toString(), ...JSON.parse(data) });
    });
    this.socket.on('pong', data => this.pongs.push(data.toString()));
    this.socket.on('error', error => { this.error = error; });
    this.socket.on('close', (code, reason) => { this.close = { code, reason: reason.toString() }; });
  }

  // Sends an object as JSON, or the text or bytes themselves.
  send(frame) {
    this.socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame));
  }

  // The next frame of that event (or that fulfils the function) which was not asked for before.
  async next(wanted, patience) {
    const matches = typeof wanted === 'function' ? wanted : frame => frame.event === wanted;
    const frame = await eventually(() => this.frames.find(one => !this.seen.has(one) && matches(one)),
      () => `${wanted}; received ${this.frames.map(one => one.text).join('\n')} ${this.error ?? ''}`, patience);
    this.seen.add(frame);
    return frame;
  }

  async established() {
    const frame = await this.next('pusher:connection_established');
    this.socketId = JSON.parse(frame.data).socket_id;
    return frame;
  }

  // Whatever was sent before has been answered. Resolves to the frames since the last time, pongs excepted, and the twin
  // of pusher:subscription_error that only .NET's SDK listens to.
  async settled() {
    this.send({ event: 'pusher:ping', data: {} });
    await this.next('pusher:pong');
    const fresh = this.frames.slice(this.settledUpTo ?? 0)
      .filter(frame => !['pusher:pong', 'pusher_internal:subscription_error'].includes(frame.event));
    this.settledUpTo = this.frames.length;
    fresh.forEach(frame => this.seen.add(frame));
    return fresh.map(({ text, ...frame }) => frame);
  }

  closed(patience) {
    return eventually(() => this.close, () => `a close; received ${this.frames.map(one => one.text)}`, patience);
  }

  // `auth` and `channel_data` of a subscribe; `data` is the text of channel_data.
  authorization(channel, data, { key, secret } = app) {
    const text = `${this.socketId}:${channel}${data === undefined ? '' : `:${data}`}`;
    return { auth: `${key}:${sign(text, secret)}`, ...data !== undefined && { channel_data: data } };
  }

  // Sends a subscribe with a valid authorization where the channel's name calls for one.
  requestChannel(channel, data) {
    const auth = /^(private|presence)-/.test(channel) ? this.authorization(channel, data) : { auth: '' };
    this.send({ event: 'pusher:subscribe', data: { channel, ...auth } });
  }

  async subscribe(channel, data) {
    this.requestChannel(channel, data);
    return this.next(frame => frame.event === 'pusher_internal:subscription_succeeded' && frame.channel === channel);
  }

  // Joins a presence channel as that user.
  join(channel, user, info) {
    return this.subscribe(channel, JSON.stringify({ user_id: user, user_info: info }));
  }

  signIn(data) {
    const text = typeof data === 'string' ? data : JSON.stringify(data);
    const auth = `${app.key}:${sign(`${this.socketId}::user::${text}`)}`;
    this.send({ event: 'pusher:signin', data: { auth, user_data: text } });
  }

  async signedIn(data) {
    this.signIn(data);
    return this.next('pusher:signin_success');
  }

  disconnect() {
    this.socket.close(1000);
  }
}
