// The server's end of a WebSocket, without a network: a test says what comes, and sees what was sent.
import { connect } from '../../dist/index.js';
import { eventually } from '../../../tests/browser/support/nginx.js';

export class FakeServer {
  sockets = [];

  constructor() {
    const server = this;
    this.WebSocket = class {
      constructor(url) {
        this.url = url;
        this.frames = [];
        server.sockets.push(this);
      }

      send(text) {
        this.frames.push(JSON.parse(text));
      }

      close() {
        this.closed = true;
      }

      receive(frame) {
        this.onmessage({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
      }

      establish(activityTimeout = 120) {
        this.receive({ event: 'pusher:connection_established',
          data: JSON.stringify({ socket_id: `1.${server.sockets.length}`, activity_timeout: activityTimeout }) });
      }

      drop(code = 1006, reason = '') {
        this.onclose({ code, reason });
      }

      sent(event) {
        return this.frames.filter(frame => frame.event === event).map(frame => frame.data);
      }

      published() {
        return this.sent('realtime:publish');
      }

      subscribed(channel, data = {}) {
        this.receive({ event: 'pusher_internal:subscription_succeeded', channel, data: JSON.stringify(data) });
      }

      message(channel, id, data) {
        this.receive({ event: 'n', channel, id, data: JSON.stringify(data) });
      }

      acknowledge({ ref }, id = `e-${ref}`) {
        this.receive({ event: 'realtime:ack', data: JSON.stringify({ ref, id }) });
      }

      reject({ ref }, code, message = 'no') {
        this.receive({ event: 'realtime:error', data: JSON.stringify({ ref, code, message }) });
      }
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  // The nth attempt.
  attempt(n) {
    return eventually(() => this.sockets[n - 1], `attempt ${n}`);
  }

  connect(t, options = {}) {
    const rt = connect('ws://127.0.0.1:9/app/key', { WebSocket: this.WebSocket, backoff: { min: 1, max: 10 }, ...options });
    rt.states = [];
    rt.errors = [];
    rt.on('state', state => rt.states.push(state));
    rt.on('error', error => rt.errors.push(error));
    t.after(() => rt.close());
    return rt;
  }
}

// What localStorage is: a name for each own property.
export class FakeStorage {
  getItem(name) {
    return Object.hasOwn(this, name) ? this[name] : null;
  }

  setItem(name, value) {
    this[name] = String(value);
  }

  removeItem(name) {
    delete this[name];
  }
}

// How a promise stands: its value, its error's code, or 'pending'.
export function outcome(promise) {
  const pending = Symbol('pending');
  return Promise.race([promise.then(value => value, error => error.code), Promise.resolve(pending)])
    .then(value => (value === pending ? 'pending' : value));
}
