// The whole: citizens who publish and subscribe, visits of all hostile kinds, and what happens to the servers meanwhile.
import http from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../browser/support/nginx.js';
import { pusher as pusherKinds } from '../hostile/pusher.js';
import { requests } from '../hostile/requests.js';
import { streams } from '../hostile/streams.js';
import { webSockets } from '../hostile/websockets.js';
import {
  doors,
  eventStream,
  http2EventStream,
  lobby,
  openTcp,
  openTls,
  poller,
  Publisher,
  pusher,
  realtimePublish,
  Subscriber,
  webSocket,
} from './citizens.js';
import { Random } from './random.js';
import { channels, Target, workerCount } from './target.js';
import { Visit } from './visit.js';

export const kinds = { ...webSockets, ...streams, ...requests, ...pusherKinds };
const visitLasts = 4000; // ms at most; longer ones are told to end
const patience = 90_000;

export class Siege {
  visits = Object.fromEntries(Object.keys(kinds).map(kind => [kind, 0]));
  answered = Object.fromEntries(Object.keys(kinds).map(kind => [kind, 0]));
  problems = []; // of visits
  events = []; // what happened to the servers
  #running = new Set();
  #deck = [];
  #number = 0;

  // `rate`: visits a second. `only`: these kinds.
  constructor({ seconds, seed, rate, only, say }) {
    Object.assign(this, { seconds, seed, rate, only, say });
    this.random = new Random(seed);
  }

  async start() {
    this.target = await Target.start();
    const { ports } = this.target;
    const [plain, tls] = [{ port: ports.plain }, { port: ports.tls }];
    this.subscribers = [
      new Subscriber('WebSocket', webSocket(openTcp(ports.plain), '/good')),
      new Subscriber('WebSocket of one channel', webSocket(openTcp(ports.plain), '/sub/good-1'), ['good-1']),
      new Subscriber('WebSocket over TLS', webSocket(openTls(ports.tls), '/good')),
      new Subscriber(
        'WebSocket, deflated',
        webSocket(openTcp(ports.plain), '/deflated/good-2', { 'Sec-WebSocket-Extensions': 'permessage-deflate' }),
        ['good-2'],
      ),
      new Subscriber('WebSocket with mirror', webSocket(openTcp(ports.plain), '/good/mirror')),
      new Subscriber('event stream', eventStream(http, { ...plain, path: '/good' })),
      new Subscriber('event stream with auth_request', eventStream(http, { ...plain, path: '/good/auth' })),
      new Subscriber('event stream with limit_conn', eventStream(http, { ...plain, path: '/good/counted' })),
      // A WebSocket would keep the proxy's worker, not ours, from ending when nginx is reloaded.
      new Subscriber('event stream through a proxy', eventStream(http, { ...plain, path: '/proxied/good' })),
      new Subscriber('event stream over TLS', eventStream(https, { ...tls, path: '/good' })),
      new Subscriber('event stream over HTTP/2', http2EventStream(`http://127.0.0.1:${ports.h2}`, '/good')),
      new Subscriber('event stream over HTTP/2 and TLS', http2EventStream(`https://127.0.0.1:${ports.tls}`, '/good/mirror')),
      new Subscriber('long-poll', poller(http, { ...plain, path: '/good' })),
      new Subscriber('long-poll over TLS', poller(https, { ...tls, path: '/good' })),
      new Subscriber('WebSocket, ordered', webSocket(openTcp(ports.plain), '/sub/good-5'), ['good-5']),
      new Subscriber('event stream, ordered', http2EventStream(`http://127.0.0.1:${ports.h2}`, '/sub/good-5'), ['good-5']),
      new Subscriber('long-poll, ordered', poller(http, { ...plain, path: '/sub/good-5' }), ['good-5']),
      new Subscriber('Pusher', pusher(openTcp(ports.plain), 'ann'), channels),
      new Subscriber('Pusher over TLS', pusher(openTls(ports.tls), 'bob'), channels),
    ];
    this.realtimePublish = realtimePublish(ports.plain);
    this.publishers = [
      new Publisher(
        'good-1',
        alternate(doors.http(ports.plain, '/pub'), doors.h2(ports.h2, '/pub'), doors.tls(ports.tls, '/pub')),
        120,
      ),
      new Publisher('good-2', doors.http(ports.plain, '/stored'), 150),
      new Publisher('good-3', doors.tls(ports.tls, '/stored'), 150),
      new Publisher('good-4', this.realtimePublish, 120),
      new Publisher('good-5', doors.h2(ports.h2, '/pub'), 150), // waits until the event is back from RabbitMQ
    ];
  }

  get published() {
    return Object.fromEntries(this.publishers.map(({ channel, published }) => [channel, published]));
  }

  // --- visits ------------------------------------------------------------------------------------------------------

  // Begins `rate` visits a second until then; each kind comes once before any comes twice. Resolves when all are over.
  async visitUntil(end) {
    while (Date.now() < end) {
      if (this.#running.size < 3 * this.rate + 4) {
        this.#begin();
      }
      await sleep(1000 / this.rate);
    }
    await this.#allOver();
  }

  // Each kind once.
  async visitOnce() {
    this.#deck = [];
    for (let i = 0; i < this.only.length; ++i) {
      await eventually(() => this.#running.size < 3 * this.rate + 4, 'visits end', patience);
      this.#begin();
      await sleep(1000 / this.rate);
    }
    await this.#allOver();
  }

  #begin() {
    if (this.#deck.length === 0) {
      this.#deck = this.random.shuffled(this.only);
    }
    const kind = this.#deck.pop();
    const visit = new Visit(this.target, new Random(`${this.seed} ${kind} ${++this.#number}`), Date.now() + visitLasts);
    const name = `${kind} (visit ${this.#number})`;
    const over = kinds[kind](visit)
      .catch(error => visit.problem(error.stack))
      .then(() => {
        visit.finish();
        ++this.visits[kind];
        this.answered[kind] += visit.answers;
        this.problems.push(...visit.problems.map(problem => `${name}: ${problem}`));
        this.#running.delete(entry);
      });
    const entry = { name, over };
    this.#running.add(entry);
  }

  #allOver() {
    return eventually(
      () => this.#running.size === 0,
      () => `these visits end: ${[...this.#running].map(({ name }) => name)}`,
      patience,
    );
  }

  // --- what happens to the servers ---------------------------------------------------------------------------------

  // Reloads and violent deaths until then. What befalls nginx and what befalls RabbitMQ is told apart, as a start takes long.
  async troubleUntil(end) {
    const nginx = {
      reload: () => this.target.reload(),
      'a worker is killed': () => this.target.killWorker(this.random),
      'two reloads at once': () => Promise.all([this.target.reload(), this.target.reload()]),
    };
    const rabbit = {
      'RabbitMQ stops answering': () => this.target.pauseRabbit(this.random.int(500, 3000)),
      'RabbitMQ is killed and started': () => this.target.restartRabbit(),
    };
    await Promise.all([this.#troubles(nginx, end), this.#troubles(rabbit, end)]);
  }

  // One after another; each kind comes once before any comes twice.
  async #troubles(troubles, end) {
    const pause = Math.max(1000, Math.min(8000, this.seconds * 100));
    for (let deck = []; Date.now() + pause < end;) {
      deck = deck.length > 0 ? deck : this.random.shuffled(Object.keys(troubles));
      await sleep(pause);
      const name = deck.pop();
      this.say(`${name}; ${this.#summary()}`);
      this.events.push(name);
      await troubles[name]();
    }
  }

  #summary() {
    const count = Object.values(this.visits).reduce((sum, one) => sum + one, 0);
    return `${count} visits, ${Object.values(this.published).join('+')} messages, ${this.problems.length} problems, ${this.target.memory()} KiB`;
  }

  // --- what is left of it ------------------------------------------------------------------------------------------

  // Waits until old workers have gone, and nobody but the citizens is there. What is still there after some time: nothing.
  async left() {
    let seen, users;
    const settled = async () => {
      [seen, users] = await Promise.all([this.target.status(), this.target.usersIn(lobby)]).then(
        ([{ connections }, ids]) => [connections, ids],
        () => [],
      );
      // A poll may be between two requests.
      return (
        seen?.websocket === 8 + (this.realtimePublish.connected ? 1 : 0) &&
        seen.sse === 8 &&
        seen.longpoll <= 3 &&
        `${users}` === 'ann,bob' &&
        this.target.leaving().length === 0 &&
        this.target.serving().length === workerCount
      );
    };
    return eventually(settled, '', 45_000).then(
      () => [],
      () => [
        `there are 8 or 9 WebSockets, 8 event streams and up to 3 polls of citizens: ${JSON.stringify(seen)}`,
        `ann and bob are in the lobby: ${users}`,
        `old workers have ended: all but [${this.target.leaving()}]`,
        `${workerCount} workers serve: [${this.target.serving()}]`,
      ],
    );
  }

  figures() {
    return { memory: this.target.memory(), descriptors: this.target.descriptors() };
  }

  async stopPublishing() {
    await Promise.all(this.publishers.map(publisher => publisher.stop()));
    this.realtimePublish.end();
  }

  // What the subscribers still lack after some time.
  async missing() {
    const lacking = () => this.subscribers.filter(subscriber => !subscriber.has(this.published));
    await eventually(() => lacking().length === 0, '', patience).catch(() => {});
    return lacking().map(({ name, next }) => `${name} waits for ${JSON.stringify(next)}`);
  }

  stopSubscribing() {
    this.subscribers.forEach(subscriber => subscriber.stop());
  }

  async close() {
    this.subscribers?.forEach(subscriber => subscriber.stop());
    this.realtimePublish?.end();
    await this.target?.close();
  }
}

function alternate(...sends) {
  let turn = 0;
  return (...message) => sends[turn++ % sends.length](...message);
}

export { channels };
