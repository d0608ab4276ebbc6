// What this server adds to the protocol, under names that SDKs never send and ignore (see docs/).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heard, Shop, subscribe } from './support/shop.js';

const publishing = 'channels orders* { client_publish on; }';

test('events carry an id, and pusher-js does not mind', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected();
  const news = await subscribe(client, 'news');
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await shop.server.trigger('news', 'created', 1);
  await shop.server.trigger('news', 'created', 2);
  const ids = [(await raw.next('created')).id, (await raw.next('created')).id];
  assert.equal(new Set(ids).size, 2);
  ids.forEach(id => assert.match(id, /^[0-9a-z]+-\d+$/));
  assert.deepEqual(await heard(news, 'created', 2), [1, 2]);
});

test('since resumes a subscription, and recovered says whether nothing is missing', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  for (let i = 0; i < 3; ++i) {
    await shop.server.trigger('news', 'n', i);
  }
  const { id } = await raw.next('n');
  const late = await shop.rawConnected();
  late.send({ event: 'pusher:subscribe', data: { channel: 'news', since: id } });
  const { data } = await late.next('pusher_internal:subscription_succeeded');
  assert.equal(JSON.parse(data).recovered, true);
  assert.deepEqual([(await late.next('n')).data, (await late.next('n')).data], ['1', '2']);
  const lost = await shop.rawConnected();
  lost.send({ event: 'pusher:subscribe', data: { channel: 'news', since: `0-${id.split('-')[1]}` } });
  assert.equal(JSON.parse((await lost.next('pusher_internal:subscription_succeeded')).data).recovered, false);
});

test('realtime:publish is answered by an ack with the id, or by an error', async t => {
  const shop = await Shop.open(t, { rules: publishing });
  const raw = await shop.rawConnected();
  const orders = await subscribe(await shop.connected(), 'orders');
  raw.send({ event: 'realtime:publish', data: { ref: 'r-1', channel: 'orders', event: 'created', data: '{"id":42}' } });
  const ack = await raw.next('realtime:ack');
  const { ref, id } = typeof ack.data === 'string' ? JSON.parse(ack.data) : ack.data;
  assert.equal(ref, 'r-1');
  assert.match(id, /^[0-9a-z]+-\d+$/);
  assert.deepEqual(await heard(orders, 'created'), [{ id: 42 }]);
  raw.send({ event: 'realtime:publish', data: { ref: 'r-2', channel: 'news', event: 'created', data: '{}' } });
  const error = await raw.next('realtime:error');
  const detail = typeof error.data === 'string' ? JSON.parse(error.data) : error.data;
  assert.equal(detail.ref, 'r-2');
  assert.ok(detail.code && detail.message);
});

test('the answer to a since tells the position at which the subscription begins', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const answer = async (socket, since) => {
    socket.send({ event: 'pusher:subscribe', data: { channel: 'news', since } });
    return JSON.parse((await socket.next('pusher_internal:subscription_succeeded')).data);
  };
  const first = await answer(raw, 'latest');
  assert.equal(first.recovered, true);
  assert.match(first.id, /^[0-9a-z]+-0$/);
  await shop.server.trigger('news', 'n', 1);
  const { id } = await raw.next('n');
  // Nothing was heard before the connection was lost, and still nothing is missing.
  const late = await shop.rawConnected();
  assert.deepEqual(await answer(late, first.id), first);
  assert.equal((await late.next('n')).id, id);
  assert.equal((await answer(await shop.rawConnected(), 'latest')).id, id);
  const plain = await shop.rawConnected();
  assert.equal((await plain.subscribe('news')).data, '{}', 'who does not ask is not told');
});

test('a cache channel that is resumed sends what is missing, in order, and the last event not again', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  raw.send({ event: 'pusher:subscribe', data: { channel: 'cache-btc', since: 'latest' } });
  await raw.next('pusher:cache_miss');
  for (const usd of [1, 2, 3]) {
    await shop.server.trigger('cache-btc', 'price', usd);
  }
  const ids = [(await raw.next('price')).id, (await raw.next('price')).id, (await raw.next('price')).id];
  const resumed = async since => {
    const late = await shop.rawConnected();
    late.send({ event: 'pusher:subscribe', data: { channel: 'cache-btc', since } });
    return (await late.settled()).filter(frame => frame.event === 'price').map(frame => frame.id);
  };
  assert.deepEqual(await resumed(ids[0]), ids.slice(1));
  assert.deepEqual(await resumed(ids[2]), []);
  assert.deepEqual(await resumed('latest'), ids.slice(2));
  assert.deepEqual(await resumed('earliest'), ids);
});

test('realtime:publish with a key publishes once, on whatever worker and whether by WebSocket or by a page\'s POST', async t => {
  const shop = await Shop.open(t, { rules: publishing,
    server: 'location = /pub { realtime_publish orders app=731 event=$arg_event; }' });
  const listener = await shop.rawConnected();
  await listener.subscribe('orders');
  const publish = async (raw, ref, key, data) => {
    raw.send({ event: 'realtime:publish', data: { ref, channel: 'orders', event: 'created', data, key } });
    return JSON.parse((await raw.next(frame => frame.event === 'realtime:ack' && JSON.parse(frame.data).ref === ref)).data).id;
  };
  const sockets = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  const id = await publish(sockets[0], 1, 'key 1', 'a');
  assert.equal(await publish(sockets[0], 2, 'key 1', 'b'), id);
  assert.equal(await publish(sockets[1], 1, 'key 1', 'c'), id);
  const post = async headers => (await (await fetch(`${shop.url}/pub?event=created&idempotency_key=key%201`,
    { method: 'POST', body: 'd', headers })).json()).id;
  assert.equal(await post({ Origin: shop.url }), id);
  const servers = await post({}); // a server's key is another, whatever a client has done
  assert.notEqual(servers, id);
  const other = await publish(sockets[1], 2, 'key 2', 'e');
  assert.deepEqual((await listener.settled()).filter(frame => frame.event === 'created').map(({ id: one, data }) => [one, data]),
    [[id, 'a'], [servers, 'd'], [other, 'e']]);
});
