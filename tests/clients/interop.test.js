// The Pusher protocol and the location-routed endpoints are one: what comes in here goes out there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventStream, post } from '../browser/support/curl.js';
import { app, eventually, heard, online, Shop, subscribe } from './support/shop.js';

const locations = `
  location ~ ^/pub/(?<ch>[^/]+)$ { realtime_publish $ch app=${app.id} event=$arg_event; }
  location ~ ^/sub/(?<ch>[^/]+)$ { realtime_subscribe $ch app=${app.id}; }`;

test('row 44: what curl posts to realtime_publish reaches pusher-js on both workers', async t => {
  const shop = await Shop.open(t, { server: locations });
  const clients = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const orders = [];
  for (const client of clients) {
    orders.push(await subscribe(client, 'orders'));
  }
  const answer = await post(`${shop.url}/pub/orders?event=created`, '{"id":42}');
  assert.equal(answer.channel, 'orders');
  for (const channel of orders) {
    assert.deepEqual(await heard(channel, 'created'), [{ id: 42 }]);
  }
  await post(`${shop.url}/pub/orders?event=created`, 'plain "text"');
  assert.deepEqual((await heard(orders[0], 'created', 2))[1], 'plain "text"');
});

test('row 44: a message without an event is called message', async t => {
  const shop = await Shop.open(t, { server: locations });
  const orders = await subscribe(await shop.connected(), 'orders');
  await post(`${shop.url}/pub/orders`, 'x');
  assert.deepEqual(await heard(orders, 'message'), ['x']);
});

test('row 44: what is triggered over REST reaches subscribers of server-sent events', async t => {
  const shop = await Shop.open(t, { server: locations });
  const stream = new EventStream(`${shop.url}/sub/orders?since=earliest`);
  t.after(() => stream.stop());
  await shop.server.trigger('orders', 'created', { id: 42 });
  await shop.server.trigger('orders', 'created', 'two\nlines');
  await stream.shows('data: two\ndata: lines\n');
  assert.match(stream.text, /event: created\ndata: \{"id":42\}\n/);
});

test('row 34: client events reach them, too; the protocol\'s own frames do not', async t => {
  const shop = await Shop.open(t, { server: locations, rules: 'client_events on; subscription_count on;' });
  const stream = new EventStream(`${shop.url}/sub/presence-room?since=earliest`);
  t.after(() => stream.stop());
  const one = await subscribe(await shop.connected({ user: 'u-1' }), 'presence-room');
  await subscribe(await shop.connected({ user: 'u-2' }), 'presence-room');
  await heard(one, 'pusher:member_added');
  await shop.server.trigger('presence-room', 'last', 'the end');
  await stream.shows('data: the end');
  assert.ok(!stream.text.includes('pusher'), stream.text);
});

test('row 29: a cache channel remembers what came from elsewhere', async t => {
  const shop = await Shop.open(t, { server: locations });
  await post(`${shop.url}/pub/cache-btc?event=price`, '7');
  const channel = await subscribe(await shop.connected(), 'cache-btc');
  assert.deepEqual(await heard(channel, 'price'), [7]);
});

test('rows 1, 44: secrets are not in the status, in no form', async t => {
  const shop = await Shop.open(t, { server: locations, hooks: true, rules: 'client_events on;' });
  const client = await shop.connected({ user: 'u-1' });
  await subscribe(client, 'presence-room');
  await subscribe(client, 'private-a');
  client.subscribe('private-forged');
  await shop.server.trigger('private-a', 'x', 1);
  await shop.serverSdk({ ...app, secret: 'wrong' }).trigger('private-a', 'x', 1).catch(() => {});
  await eventually(() => shop.hooks.requests.length, 'a webhook');
  for (const format of ['', '?format=json', '?format=prometheus']) {
    const answer = await fetch(`${shop.url}/realtime/${format}`);
    assert.equal(answer.status, 200);
    assert.ok(!(await answer.text()).includes(app.secret));
  }
});

test('rows 44, 45: a secret may be in a file', async t => {
  const { chmodSync, mkdtempSync, rmSync, writeFileSync } = await import('node:fs');
  const { tmpdir } = await import('node:os');
  const directory = mkdtempSync(`${tmpdir()}/realtime-secret.`);
  t.after(() => rmSync(directory, { recursive: true }));
  const other = { id: 'filed', key: 'filedkey', secret: 'filedsecret' };
  writeFileSync(`${directory}/secret`, `${other.secret}\n`);
  chmodSync(`${directory}/secret`, 0o600);
  const shop = await Shop.open(t, { apps: `realtime_app ${other.id} { key ${other.key}; secret_file ${directory}/secret; }`,
    secrets: [other.secret] });
  const client = shop.client({ key: other.key });
  await online(client);
  const news = await subscribe(client, 'news');
  await shop.serverSdk(other).trigger('news', 'x', 1);
  await heard(news, 'x');
});

test('row 57: a subscriber elsewhere occupies a channel, too, and the last one to go vacates it', async t => {
  const shop = await Shop.open(t, { server: locations, hooks: true });
  const client = await shop.connected();
  await subscribe(client, 'orders');
  await shop.hooks.shows('channel_occupied', 'orders');
  const stream = new EventStream(`${shop.url}/sub/orders`);
  t.after(() => stream.stop());
  await eventually(async () => (await shop.rest('GET', '/channels/orders', { parameters: { info: 'subscription_count' } }))
    .json.subscription_count === 2, 'both count');
  client.disconnect();
  await eventually(async () => (await shop.rest('GET', '/channels/orders', { parameters: { info: 'subscription_count' } }))
    .json.subscription_count === 1, 'one is left');
  stream.stop();
  await shop.hooks.shows('channel_vacated', 'orders');
  assert.deepEqual(shop.hooks.about('orders').map(({ name }) => name), ['channel_occupied', 'channel_vacated']);
});
