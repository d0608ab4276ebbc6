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
