// What the client does, seen from a server that does not exist.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { connect, RealtimeError } from '../dist/index.js';
import { eventually } from '../../tests/browser/support/nginx.js';
import { fakeClock } from './support/clock.js';
import { FakeServer, FakeStorage, outcome } from './support/fake.js';

const turn = () => new Promise(resolve => setImmediate(resolve));

test('the URL may be of a page or a WebSocket, and is completed', t => {
  for (const url of ['http://h:1/app/k', 'https://h/app/k', 'ws://h/x/app/k', 'wss://h/app/k?old=1']) {
    const server = new FakeServer();
    const rt = connect(url, { WebSocket: server.WebSocket });
    t.after(() => rt.close());
    assert.equal(server.socket.url, `${url.replace('http', 'ws').replace(/\?.*/, '')}?protocol=7&client=nginx-realtime`);
  }
  assert.throws(() => connect('/app/k', { WebSocket: class {} }), { code: 'invalid', name: 'RealtimeError' });
});

test('without a WebSocket and a fallback, connect() says what to do', t => {
  if (globalThis.WebSocket) {
    return t.skip('this runtime has one');
  }
  assert.throws(() => connect('ws://h/app/k'), { code: 'unsupported', message: /option WebSocket/ });
});

test('the state tells where the connection is', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  assert.equal(rt.state, 'connecting');
  server.socket.establish();
  assert.equal(rt.state, 'connected');
  server.socket.drop();
  assert.equal(rt.state, 'waiting');
  (await server.attempt(2)).establish();
  rt.close();
  assert.deepEqual(rt.states, ['connected', 'waiting', 'connecting', 'connected', 'closed']);
  assert.equal(server.socket.closed, true);
  assert.deepEqual(rt.errors, []);
});

test('4000 to 4099 are for good, and everything that waits is told', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  const waiting = rt.publish('a', 'e');
  server.socket.receive({ event: 'pusher:error', data: { code: 4001, message: 'Application does not exist' } });
  server.socket.drop(4001, 'Application does not exist');
  await assert.rejects(waiting, { code: 'refused', message: /Application does not exist \(4001\)\. Check the URL/ });
  assert.equal(rt.state, 'closed');
  assert.deepEqual(rt.errors.map(error => error.code), ['refused']);
  await assert.rejects(rt.publish('a', 'e'), { code: 'closed' });
});

test('after 4200 and 1012 it is back at once, after 4100 and 1013 not before a second, after others soon', t => {
  const clock = fakeClock(t);
  const random = mock.method(Math, 'random', () => 0.5);
  t.after(() => random.mock.restore());
  for (const [code, least] of [[4200, 0], [1012, 0], [4100, 1250], [1013, 1250], [1006, 250], [1001, 250]]) {
    const server = new FakeServer();
    server.connect(t, { backoff: {} });
    server.socket.establish();
    clock.tick(6000);
    server.socket.drop(code);
    clock.tick(Math.max(least - 1, 0));
    assert.equal(server.sockets.length, least ? 1 : 2, `${code}`);
    clock.tick(1);
    assert.equal(server.sockets.length, 2, `${code}`);
  }
});

test('each failure doubles the time that is drawn from, up to the longest', t => {
  const clock = fakeClock(t);
  const random = mock.method(Math, 'random', () => 0.999);
  t.after(() => random.mock.restore());
  const server = new FakeServer();
  server.connect(t, { backoff: { min: 1000, max: 5000 } });
  for (const longest of [1000, 2000, 4000, 5000, 5000]) {
    const before = server.sockets.length;
    server.socket.drop();
    clock.tick(longest - 10);
    assert.equal(server.sockets.length, before);
    clock.tick(10);
    assert.equal(server.sockets.length, before + 1);
  }
  // One that broke at once was no success; one that lasted was.
  server.socket.establish();
  server.socket.drop(4200);
  assert.equal(server.sockets.length, 6);
  clock.tick(5000);
  server.socket.establish();
  clock.tick(6000);
  server.socket.drop(1006);
  clock.tick(1000);
  assert.equal(server.sockets.length, 8);
});

test('an attempt that hangs is given up', async t => {
  const server = new FakeServer();
  server.connect(t, { timeout: 20 });
  await server.attempt(2);
  assert.equal(server.sockets[0].closed, true);
  server.sockets[0].establish();
  assert.deepEqual(server.sockets[0].frames, []);
});

test('silence is answered with a ping, and a ping without an answer ends the connection', async t => {
  const server = new FakeServer();
  const rt = server.connect(t, { timeout: 100 });
  const first = server.socket;
  first.establish(0.02);
  await eventually(() => first.sent('pusher:ping').length === 1, 'a ping');
  first.receive({ event: 'pusher:pong', data: '{}' });
  await eventually(() => first.sent('pusher:ping').length === 2, 'another');
  assert.equal(rt.state, 'connected');
  await server.attempt(2);
  first.receive({ event: 'pusher:ping', data: '{}' });
  assert.equal(first.sent('pusher:pong').length, 0, 'what a connection says that was given up is not heard');
  server.socket.establish();
  server.socket.receive({ event: 'pusher:ping', data: '{}' });
  assert.equal(server.socket.sent('pusher:pong').length, 1);
});

test('what is published offline is sent in order, and acknowledged once', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  const receipts = [1, 2, 3].map(n => rt.publish('a', 'e', { n }));
  assert.equal(await outcome(receipts[0]), 'pending');
  server.socket.establish();
  const published = server.socket.published();
  assert.deepEqual(published.map(one => JSON.parse(one.data).n), [1, 2, 3]);
  assert.deepEqual(published.map(({ channel, event }) => `${channel} ${event}`), ['a e', 'a e', 'a e']);
  assert.equal(new Set(published.map(one => one.key)).size, 3);
  published.forEach(one => server.socket.acknowledge(one));
  published.forEach(one => server.socket.acknowledge(one, 'x-9'));
  assert.deepEqual(await Promise.all(receipts), published.map(({ ref }) => ({ id: `e-${ref}` })));
});

test('what was under way when the connection broke is sent again, in order and with the same key', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const receipts = [1, 2, 3].map(n => rt.publish('a', 'e', n, n === 3 ? { key: 'mine' } : {}));
  const before = server.socket.published();
  server.socket.acknowledge(before[0]);
  server.socket.drop();
  receipts.push(rt.publish('a', 'e', 4));
  (await server.attempt(2)).establish();
  const after = server.socket.published();
  assert.deepEqual(after.map(one => one.data), ['2', '3', '4']);
  assert.deepEqual(after.slice(0, 2).map(one => one.key), before.slice(1).map(one => one.key));
  assert.equal(after[1].key, 'mine');
  after.forEach(one => server.socket.acknowledge(one));
  assert.equal((await Promise.all(receipts)).length, 4);
});

test('too late to repeat safely, it says so instead', async t => {
  const clock = fakeClock(t, Date.now());
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const tried = rt.publish('a', 'e', 1);
  server.socket.drop();
  const later = rt.publish('a', 'e', 2);
  clock.tick(280000);
  server.socket.establish();
  await assert.rejects(tried, { code: 'uncertain' });
  assert.deepEqual(server.socket.published().map(one => one.data), ['2']);
  server.socket.acknowledge(server.socket.published()[0]);
  await later;
});

test('at most 64 messages are under way', t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  for (let n = 0; n < 100; ++n) {
    rt.publish('a', 'e', n).catch(() => {});
  }
  assert.equal(server.socket.published().length, 64);
  server.socket.acknowledge(server.socket.published()[0]);
  assert.equal(server.socket.published().length, 65);
});

test('the queue is bounded', async t => {
  const server = new FakeServer();
  const rt = server.connect(t, { maxQueue: 2 });
  const taken = [rt.publish('a', 'e', 1), rt.publish('a', 'e', 2)];
  await assert.rejects(rt.publish('a', 'e', 3), { code: 'queue-full', channel: 'a' });
  server.socket.establish();
  assert.deepEqual(server.socket.published().map(one => one.data), ['1', '2']);
  server.socket.published().forEach(one => server.socket.acknowledge(one));
  await Promise.all(taken);
});

test('a message that is too large is refused before it is sent, or when the server closes because of it', async t => {
  const server = new FakeServer();
  const rt = server.connect(t, { maxMessageSize: 1000 });
  server.socket.establish();
  await assert.rejects(rt.publish('a', 'e', 'é'.repeat(480)), { code: 'too-large' });
  const small = rt.publish('a', 'e', 'small');
  const large = rt.publish('a', 'e', 'x'.repeat(500));
  server.socket.drop(1009);
  await assert.rejects(large, { code: 'too-large' });
  (await server.attempt(2)).establish();
  assert.deepEqual(server.socket.published().map(one => one.data), ['"small"']);
  server.socket.acknowledge(server.socket.published()[0]);
  await small;
});

test('429 and 503 are tried again, what else is refused is told by a typed error', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const patient = rt.publish('a', 'e', 1);
  server.socket.reject(server.socket.published()[0], 429);
  await eventually(() => server.socket.published().length === 2, 'again');
  server.socket.reject(server.socket.published()[1], 503);
  await eventually(() => server.socket.published().length === 3, 'and again');
  assert.equal(new Set(server.socket.published().map(one => one.key)).size, 1);
  server.socket.acknowledge(server.socket.published()[2]);
  await patient;
  for (const [status, code] of [[400, 'invalid'], [403, 'forbidden'], [502, 'not-stored'], [500, 'server']]) {
    const refused = rt.publish('a', 'e', status);
    server.socket.reject(server.socket.published().at(-1), status, 'because');
    await assert.rejects(refused, error => error instanceof RealtimeError && error.code === code && /because/.test(error.message));
  }
});

test('the pause after a 429 doubles while it goes on, and begins anew once a message is taken', t => {
  const clock = fakeClock(t);
  const random = mock.method(Math, 'random', () => 0.999);
  t.after(() => random.mock.restore());
  const server = new FakeServer();
  const rt = server.connect(t, { backoff: { min: 1000, max: 60000 } });
  server.socket.establish();
  const rejectedFor = longest => {
    const before = server.socket.published().length;
    server.socket.reject(server.socket.published().at(-1), 429);
    clock.tick(100 + longest - 10);
    assert.equal(server.socket.published().length, before);
    clock.tick(10);
    assert.equal(server.socket.published().length, before + 1);
  };
  rt.publish('a', 'e', 1).catch(() => {});
  [1000, 2000, 4000].forEach(rejectedFor);
  server.socket.acknowledge(server.socket.published().at(-1));
  rt.publish('a', 'e', 2).catch(() => {});
  rejectedFor(1000);
});

test('after a refusal one message goes at a time until nothing waits, and so the order holds', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const published = () => server.socket.published();
  const receipts = [1, 2, 3].map(n => rt.publish('a', 'e', n));
  server.socket.reject(published()[0], 429);
  server.socket.acknowledge(published()[1]);
  server.socket.reject(published()[2], 503);
  receipts.push(...[4, 5].map(n => rt.publish('a', 'e', n)));
  await eventually(() => published().length > 3, 'again');
  for (let n = 3; n < 7; ++n) {
    assert.equal(published().length, n + 1, 'one at a time');
    server.socket.acknowledge(published()[n]);
  }
  await Promise.all(receipts);
  assert.deepEqual(published().slice(3).map(one => one.data), ['1', '3', '4', '5']);
  receipts.push(...[6, 7].map(n => rt.publish('a', 'e', n)));
  assert.equal(published().length, 9, 'both at once again');
  published().slice(7).forEach(one => server.socket.acknowledge(one));
  await Promise.all(receipts);
});

test('close() rejects what waits', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  const waiting = rt.publish('a', 'e');
  rt.close();
  rt.close();
  await assert.rejects(waiting, { code: 'closed' });
});

test('a subscription resumes where it was, though nothing was heard yet, and repeats are dropped', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  const heard = [];
  const starts = [];
  rt.subscribe('a', message => heard.push([message.id, message.data]), { onStart: start => starts.push(start) });
  server.socket.establish();
  assert.deepEqual(server.socket.sent('pusher:subscribe'), [{ channel: 'a', since: 'latest' }]);
  server.socket.subscribed('a', { recovered: true, id: 'e-4' });
  server.socket.drop();
  (await server.attempt(2)).establish();
  assert.equal(server.socket.sent('pusher:subscribe')[0].since, 'e-4');
  server.socket.subscribed('a', { recovered: true, id: 'e-4' });
  for (const n of [5, 6, 5, 6, 7]) {
    server.socket.message('a', `e-${n}`, n);
  }
  server.socket.drop();
  (await server.attempt(3)).establish();
  assert.equal(server.socket.sent('pusher:subscribe')[0].since, 'e-7');
  server.socket.subscribed('a', { recovered: true, id: 'e-7' });
  server.socket.message('a', 'e-7', 7);
  server.socket.message('a', 'e-10', 10);
  server.socket.message('a', 'f-1', 1);
  assert.deepEqual(heard, [['e-5', 5], ['e-6', 6], ['e-7', 7], ['e-10', 10], ['f-1', 1]]);
  assert.deepEqual(starts.map(start => [start.recovered, start.id]), [[true, 'e-4'], [true, 'e-4'], [true, 'e-7']]);
});

test('a gap is told before what comes behind it, and to whom nobody listens it is an error', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  const log = [];
  rt.subscribe('a', message => log.push(message.id), { since: 'e-2', onStart: ({ recovered }) => log.push(recovered) });
  rt.subscribe('b', () => {}, { since: 'e-2' });
  server.socket.establish();
  server.socket.subscribed('a', { recovered: false, id: 'e-7' });
  server.socket.message('a', 'e-8', 8);
  server.socket.subscribed('b', { recovered: false, id: 'e-7' });
  assert.deepEqual(log, [false, 'e-8']);
  assert.deepEqual(rt.errors.map(({ code, channel }) => [code, channel]), [['gap', 'b']]);
});

test('several handlers share a subscription, which ends with the last', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const heard = [];
  const stop = rt.subscribe('a', () => heard.push('first'));
  server.socket.subscribed('a', { recovered: true, id: 'e-1' });
  const starts = [];
  const stopSecond = rt.subscribe('a', () => heard.push('second'), { onStart: start => starts.push(start) });
  const stopLate = rt.subscribe('a', () => {}, { since: 'earliest', onStart: start => starts.push(start) });
  await turn();
  assert.deepEqual(starts.map(start => start.recovered), [true, false], 'history is for the first');
  server.socket.message('a', 'e-2', 2);
  stop();
  stop();
  server.socket.message('a', 'e-3', 3);
  stopLate();
  assert.deepEqual(server.socket.sent('pusher:unsubscribe'), []);
  stopSecond();
  server.socket.message('a', 'e-4', 4);
  assert.deepEqual(heard, ['first', 'second', 'second']);
  assert.deepEqual(server.socket.sent('pusher:unsubscribe'), [{ channel: 'a' }]);
  assert.equal(server.socket.sent('pusher:subscribe').length, 1);
});

test('data is JSON, text or bytes, and an exception in a handler harms nobody', async t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  const heard = [];
  const thrown = [];
  const uncaught = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', error => thrown.push(error.message));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    uncaught.forEach(listener => process.on('uncaughtException', listener));
  });
  rt.subscribe('a', () => {
    throw new Error('mine');
  });
  rt.subscribe('a', message => heard.push(message.data));
  server.socket.subscribed('a');
  for (const frame of [{ data: '{"n":1}' }, { data: 'plain {' }, { data: '/wA=', encoding: 'base64' }]) {
    server.socket.receive({ event: 'n', channel: 'a', ...frame });
  }
  assert.deepEqual(heard, [{ n: 1 }, 'plain {', new Uint8Array([255, 0])]);
  await turn();
  assert.deepEqual(thrown, ['mine', 'mine', 'mine']);
});

test('a frame that makes no sense is an error and not the end', t => {
  const server = new FakeServer();
  const rt = server.connect(t);
  server.socket.establish();
  for (const text of ['{', 'null', '[', '{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{"}']) {
    server.socket.receive(text);
  }
  server.socket.receive({ event: 'pusher:error', data: { code: null, message: 'Unsupported event' } });
  assert.deepEqual(rt.errors.map(error => error.code), Array(5).fill('server'));
  assert.equal(rt.state, 'connected');
});

test('private channels are authorized for each connection, and messages for them wait for it', async t => {
  const server = new FakeServer();
  const asked = [];
  const rt = server.connect(t, { authorize: async (...args) => (asked.push(args), { auth: 'k:s', shared_secret: 'x' }) });
  rt.subscribe('private-a', () => {});
  rt.publish('private-a', 'e', 1).catch(() => {});
  server.socket.establish();
  await eventually(() => server.socket.sent('pusher:subscribe').length, 'the subscribe');
  assert.deepEqual(server.socket.sent('pusher:subscribe'), [{ channel: 'private-a', since: 'latest', auth: 'k:s' }]);
  assert.equal(server.socket.published().length, 0);
  server.socket.subscribed('private-a');
  assert.equal(server.socket.published().length, 1);
  server.socket.drop();
  (await server.attempt(2)).establish();
  await eventually(() => server.socket.sent('pusher:subscribe').length, 'the next');
  assert.deepEqual(asked, [['private-a', '1.1'], ['private-a', '1.2']]);
});

test('authorize() that gives nothing means no, one that fails is asked again', async t => {
  const server = new FakeServer();
  const answers = { 'private-no': () => null, 'private-later': () => Promise.reject(new Error('down')) };
  const rt = server.connect(t, { authorize: channel => answers[channel]() });
  const errors = [];
  rt.subscribe('private-no', () => {}, { onError: error => errors.push(error.code) });
  rt.subscribe('private-later', () => {});
  rt.publish('private-no', 'e').catch(() => {});
  server.socket.establish();
  await eventually(() => errors.length && rt.errors.length, 'both are told');
  assert.deepEqual(errors, ['forbidden']);
  assert.deepEqual(rt.errors.map(({ code, message }) => [code, /down/.test(message)]), [['authorize', true]]);
  assert.equal(server.socket.published().length, 1, 'the server is to say what becomes of it');
  answers['private-later'] = () => ({ auth: 'k:s' });
  await eventually(() => server.socket.sent('pusher:subscribe').length, 'again');
});

test('a refused subscription is told, by what the server says', async t => {
  const server = new FakeServer();
  const rt = server.connect(t, { authorize: () => ({ auth: 'k:bad' }) });
  for (const [channel, status, code] of [['private-a', 401, 'forbidden'], ['b c', 400, 'invalid'], ['presence-full', 4100, 'limit']]) {
    rt.subscribe(channel, () => {});
    server.socket.establish();
    server.socket.receive({ event: 'pusher:subscription_error', channel, data: JSON.stringify({ type: 'T', error: 'why', status }) });
    const error = rt.errors.at(-1);
    assert.deepEqual([error.code, error.channel, /why/.test(error.message)], [code, channel, true]);
  }
});

test('members are told as a whole each time that they change', async t => {
  const server = new FakeServer();
  const rt = server.connect(t, { authorize: () => ({ auth: 'k:s', channel_data: '{"user_id":"1"}' }) });
  const seen = [];
  rt.subscribe('presence-a', () => {}, { onMembers: members => seen.push(members.map(({ id, info }) => `${id} ${info?.name}`)) });
  server.socket.establish();
  await eventually(() => server.socket.sent('pusher:subscribe')[0]?.channel_data, 'the subscribe');
  server.socket.subscribed('presence-a', { presence: { count: 1, ids: ['1'], hash: { 1: { name: 'Ada' } } } });
  const member = (event, data) => server.socket.receive({ event, channel: 'presence-a', data: JSON.stringify(data) });
  member('pusher_internal:member_added', { user_id: '2', user_info: { name: 'Lin' } });
  member('pusher_internal:member_removed', { user_id: '1' });
  assert.deepEqual(seen, [['1 Ada'], ['1 Ada', '2 Lin'], ['2 Lin']]);
  member('pusher_internal:member_removed', { user_id: '1' });
  member('pusher_internal:member_added', { user_id: '2', user_info: { name: 'Lin' } });
  assert.deepEqual(seen.at(-1), ['2 Lin'], 'what is told twice changes nothing');
});

test('with a storage, messages outlive the page and keep their order and key', async t => {
  const storage = new FakeStorage();
  storage.other = 'not ours';
  const first = new FakeServer();
  const page = first.connect(t, { storage });
  first.socket.establish();
  page.publish('a', 'e', 1).catch(() => {});
  first.socket.drop();
  for (const n of [2, 3]) {
    page.publish('a', 'e', n).catch(() => {});
  }
  const keys = first.socket.published().map(one => one.key);
  assert.equal(Object.keys(storage).length, 4);

  const second = new FakeServer();
  const next = second.connect(t, { storage });
  const own = next.publish('a', 'e', 4);
  second.socket.establish();
  const published = second.socket.published();
  assert.deepEqual(published.map(one => one.data), ['1', '2', '3', '4']);
  assert.equal(published[0].key, keys[0], 'which keeps what the first page has sent from being published twice');
  published.forEach(one => second.socket.acknowledge(one));
  await own;
  assert.deepEqual(Object.keys(storage), ['other']);
});

test('what another page has meanwhile got acknowledged is not sent', async t => {
  const storage = new FakeStorage();
  const [a, b] = [new FakeServer(), new FakeServer()];
  const receipt = a.connect(t, { storage }).publish('a', 'e', 1);
  b.connect(t, { storage });
  a.socket.establish();
  a.socket.acknowledge(a.socket.published()[0]);
  await receipt;
  b.socket.establish();
  assert.deepEqual(b.socket.published(), []);
});

test('of two pages that live, one publishes what both have', async t => {
  const clock = fakeClock(t, Date.now());
  const storage = new FakeStorage();
  const [a, b] = [new FakeServer(), new FakeServer()];
  const frozen = a.connect(t, { storage });
  const outcomes = Promise.allSettled([1, 2].map(n => frozen.publish('a', 'e', n)));
  b.connect(t, { storage });
  b.socket.establish();
  assert.equal(b.socket.published().length, 2);
  b.socket.acknowledge(b.socket.published()[0]);
  clock.tick(280000); // longer than the server remembers keys
  clock.tick(100); // another attempt
  a.socket.establish();
  assert.deepEqual(a.socket.published(), [], 'nothing is published twice');
  assert.deepEqual((await outcomes).map(({ reason }) => reason.code), ['uncertain', 'uncertain']);
});

test('what is refused for the moment is not taken for published, by no page', async t => {
  const storage = new FakeStorage();
  const server = new FakeServer();
  const rt = server.connect(t, { storage });
  server.socket.establish();
  const receipt = rt.publish('a', 'e', 1);
  server.socket.reject(server.socket.published()[0], 429);
  assert.equal(JSON.parse(Object.values(storage)[0])[4], null);
  await eventually(() => server.socket.published().length === 2, 'again');
  server.socket.acknowledge(server.socket.published()[1]);
  await receipt;
});

test('a storage that is full or holds rubbish is no obstacle', async t => {
  const storage = new FakeStorage();
  storage['realtime:ws://127.0.0.1:9/app/key?protocol=7&client=nginx-realtime:1'] = '{';
  storage.setItem = () => {
    throw new Error('QuotaExceededError');
  };
  const server = new FakeServer();
  const receipt = server.connect(t, { storage }).publish('a', 'e', 1);
  assert.deepEqual(Object.keys(storage).filter(name => name !== 'setItem'), []);
  server.socket.establish();
  server.socket.acknowledge(server.socket.published()[0]);
  await receipt;
});

test('close() takes from the storage what it rejects, a refusal of the server does not', async t => {
  const storage = new FakeStorage();
  const server = new FakeServer();
  const closed = server.connect(t, { storage });
  const one = closed.publish('a', 'e', 1);
  closed.close();
  await assert.rejects(one);
  assert.equal(Object.keys(storage).length, 0);
  const refused = server.connect(t, { storage }).publish('a', 'e', 2);
  server.socket.drop(4003);
  await assert.rejects(refused);
  assert.equal(Object.keys(storage).length, 1);
});
