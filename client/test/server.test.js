// The client in Node against real nginx with two workers.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../tests/browser/support/nginx.js';
import { authorizeAs, client, fallback, follow, network, open } from './support/shop.js';

const numbers = heard => heard.map(message => message.data);
const upTo = count => Array.from({ length: count }, (_, n) => n);

// Publishes 0, 1, 2 … one every few milliseconds until it is told to stop; then tells how many.
function stream(rt, channel) {
  const receipts = [];
  let going = true;
  const done = (async () => {
    while (going) {
      receipts.push(rt.publish(channel, 'n', receipts.length));
      await sleep(3);
    }
    return Promise.all(receipts);
  })();
  return async () => {
    going = false;
    return done;
  };
}

// Everything was heard once and in order, under the ids that its publisher was told.
async function complete(heard, receipts) {
  await eventually(() => heard.length >= receipts.length, () => `${receipts.length} messages; heard ${heard.length}`);
  assert.deepEqual(numbers(heard), upTo(receipts.length));
  assert.deepEqual(heard.map(message => message.id), receipts.map(receipt => receipt.id));
  assert.ok(heard.starts.every(start => start.recovered), 'without a gap');
}

test('what is published is heard by others and by the publisher, as it was', async t => {
  const shop = await open(t);
  const [a, b] = [client(t, shop), client(t, shop)];
  const [here, there] = [await follow(a, 'orders'), await follow(b, 'orders')];
  for (const data of [{ n: 1, text: 'Zoë "x"' }, 'text', 7, null, [1, 2]]) {
    const { id } = await a.publish('orders', 'created', data);
    await eventually(() => here.length && there.length, 'the message');
    const expected = { id, channel: 'orders', event: 'created', data, userId: undefined };
    assert.deepEqual([here.pop(), there.pop()], [expected, expected]);
  }
  await shop.server.trigger('orders', 'by-rest', { n: 2 });
  await eventually(() => there[0]?.event === 'by-rest' && there[0].data.n === 2, 'what an SDK of Pusher publishes');
});

test('since begins where it says, and the last id is a since', async t => {
  const shop = await open(t);
  const rt = client(t, shop);
  const ids = [];
  for (const n of upTo(4)) {
    ids.push((await rt.publish('orders', 'n', n)).id);
  }
  for (const [since, expected] of [['earliest', [0, 1, 2, 3]], [ids[1], [2, 3]], [ids[3], []]]) {
    const heard = await follow(client(t, shop), 'orders', { since });
    await eventually(() => heard.length === expected.length, `all since ${since}`);
    assert.deepEqual(numbers(heard), expected);
    assert.equal(heard.starts[0].recovered, true);
  }
});

test('a worker is killed: nothing is lost, nothing comes twice', async t => {
  const shop = await open(t);
  shop.killed = true;
  const [publisher, listener] = await shop.onEachWorker(...[0, 1].map(() => async () => {
    const rt = client(t, shop);
    rt.disconnect = () => rt.close();
    await follow(rt, 'elsewhere');
    return rt;
  }));
  const heard = await follow(listener, 'orders');
  const stop = stream(publisher, 'orders');
  for (const pid of shop.nginx.workers()) {
    await eventually(() => heard.length % 20 > 10, 'some messages');
    await shop.nginx.killWorker(pid);
  }
  await eventually(() => heard.starts.length > 1, 'the listener is back');
  await complete(heard, await stop());
});

test('nginx reloads: nothing is lost, nothing comes twice', async t => {
  const shop = await open(t, { http: 'realtime_drain 1s;' });
  const [publisher, listener] = [client(t, shop), client(t, shop)];
  const heard = await follow(listener, 'orders');
  const stop = stream(publisher, 'orders');
  for (let reloads = 0; reloads < 2; ++reloads) {
    const old = shop.nginx.workers();
    shop.nginx.reload();
    await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  }
  await complete(heard, await stop());
});

test('the network goes and comes: what is published meanwhile waits, and is heard in order', async t => {
  const shop = await open(t);
  const net = network();
  const rt = client(t, shop, { WebSocket: net.WebSocket });
  const [own, other] = [await follow(rt, 'orders'), await follow(client(t, shop), 'orders')];
  const stop = stream(rt, 'orders');
  for (let cuts = 0; cuts < 3; ++cuts) {
    await eventually(() => rt.state === 'connected' && own.length % 20 > 10, 'some messages');
    net.up = false;
    await eventually(() => rt.state === 'waiting', 'it is noticed');
    net.up = true;
  }
  const receipts = await stop();
  await complete(own, receipts);
  await complete(other, receipts);
});

test('an acknowledgement is lost: the message is not published twice', async t => {
  const shop = await open(t);
  const net = network();
  const rt = client(t, shop, { WebSocket: net.WebSocket });
  const heard = await follow(client(t, shop), 'orders');
  net.swallow = text => text.includes('realtime:ack');
  const receipts = [rt.publish('orders', 'n', 0), rt.publish('orders', 'n', 1)];
  await eventually(() => heard.length === 2, 'both arrive');
  net.up = false;
  net.swallow = () => false;
  receipts.push(rt.publish('orders', 'n', 2));
  net.up = true;
  await complete(heard, await Promise.all(receipts));
});

test('what the history no longer has is a gap, and what it has comes', async t => {
  const shop = await open(t, { rules: 'channels * { history 2; client_publish on; }' });
  const net = network();
  const rt = client(t, shop, { WebSocket: net.WebSocket });
  const heard = await follow(rt, 'orders');
  net.up = false;
  const other = client(t, shop);
  for (const n of upTo(5)) {
    await other.publish('orders', 'n', n);
  }
  net.up = true;
  await eventually(() => heard.length === 2, 'what is left');
  assert.deepEqual(numbers(heard), [3, 4]);
  assert.deepEqual(heard.starts.map(start => start.recovered), [true, false]);
});

test('private and presence channels', async t => {
  const shop = await open(t);
  const [ada, lin] = ['ada', 'lin'].map(user => client(t, shop, { authorize: authorizeAs(user) }));
  const room = await follow(ada, 'presence-room');
  const other = await follow(lin, 'presence-room');
  await eventually(() => room.members.at(-1) === 'ada,lin' && other.members.at(-1) === 'ada,lin', 'both see both');
  await follow(lin, 'private-orders');
  const receipt = await lin.publish('private-orders', 'created', 1);
  assert.match(receipt.id, /^[0-9a-z]+-\d+$/);
  lin.close();
  await eventually(() => room.members.at(-1) === 'ada', 'one has left');
  await assert.rejects(ada.publish('private-orders', 'created', 1), { code: 'forbidden' });
  await assert.rejects(follow(client(t, shop, { authorize: () => ({ auth: 'no:no' }) }), 'private-orders'), { code: 'forbidden' });
  await assert.rejects(follow(client(t, shop), 'no such/channel'), { code: 'invalid' });
});

test('refusals of a publish', async t => {
  const shop = await open(t, { rules: 'channels orders { client_publish on rate=20r/s; }', http: 'realtime_max_message_size 4k;' });
  const rt = client(t, shop);
  await assert.rejects(rt.publish('closed', 'n'), { code: 'forbidden' });
  await assert.rejects(rt.publish('orders', 'pusher:n'), { code: 'invalid' });
  const heard = await follow(client(t, shop), 'orders');
  const receipts = upTo(40).map(n => rt.publish('orders', 'n', n));
  const large = rt.publish('orders', 'n', 'x'.repeat(5000));
  await assert.rejects(large, { code: 'too-large' }, 'the server closes the connection because of it');
  const ids = (await Promise.all(receipts)).map(receipt => receipt.id);
  await eventually(() => heard.length === 40, 'all come, as fast as they may');
  assert.deepEqual(heard.map(message => message.id).sort(), ids.sort());
});

test('a key that does not exist closes the client', async t => {
  const shop = await open(t);
  const rt = client(t, shop, { path: '/app/nobody' });
  await eventually(() => rt.state === 'closed', 'it is closed');
  assert.deepEqual(rt.errors.map(error => error.code), ['refused']);
});

test('WebSockets are blocked: it works by HTTP, and changes over once they are not', async t => {
  const shop = await open(t, { http: 'realtime_drain 1s;' });
  const net = network();
  net.up = false;
  const rt = client(t, shop, { WebSocket: net.WebSocket, fallback: fallback(shop) });
  const own = await follow(rt, 'orders', { since: 'earliest' });
  const other = await follow(client(t, shop), 'orders');
  const stop = stream(rt, 'orders');
  await eventually(() => own.length > 20, 'messages by HTTP');
  shop.nginx.reload();
  await eventually(() => own.starts.length > 1, 'the stream has ended and begun again');
  net.up = true;
  await eventually(() => net.sockets.size === 1 && [...net.sockets][0].readyState === 1, 'a WebSocket');
  const before = own.length;
  await eventually(() => own.length > before + 20, 'messages by WebSocket');
  const receipts = await stop();
  await complete(own, receipts);
  await complete(other, receipts);
  await assert.rejects(rt.publish('', 'n'), { code: 'invalid' });
});

test('by HTTP, refusals are typed too', async t => {
  const shop = await open(t, { http: 'realtime_max_message_size 4k;' });
  const rt = client(t, shop, { path: '/blocked/app/x', fallback: fallback(shop) });
  await assert.rejects(rt.publish('orders', 'n', 'x'.repeat(5000)), { code: 'too-large' });
  await assert.rejects(rt.publish('orders', 'n'.repeat(201), 1), { code: 'invalid' });
  await assert.rejects(follow(rt, 'c'.repeat(201)), { code: 'invalid' });
});
