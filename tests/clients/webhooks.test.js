// Webhooks: rows 57 to 63. Every request that the receiver gets is checked with the `pusher` SDK (support/hooks.js).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { app, eventually, online, Shop, subscribe } from './support/shop.js';

const room = 'presence-room';
const names = (shop, channel) => shop.hooks.about(channel).map(({ name }) => name);

test('row 57: channel_occupied and channel_vacated, once for all workers', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  await subscribe(one, 'news');
  assert.deepEqual(await shop.hooks.shows('channel_occupied', 'news'), { name: 'channel_occupied', channel: 'news' });
  await subscribe(other, 'news');
  await subscribe(other, 'sport');
  await shop.hooks.shows('channel_occupied', 'sport');
  one.disconnect();
  other.unsubscribe('sport');
  await shop.hooks.shows('channel_vacated', 'sport');
  assert.deepEqual(names(shop, 'news'), ['channel_occupied'], 'one is left');
  other.disconnect();
  assert.deepEqual(await shop.hooks.shows('channel_vacated', 'news'), { name: 'channel_vacated', channel: 'news' });
  assert.deepEqual(names(shop, 'news'), ['channel_occupied', 'channel_vacated']);
});

test('row 57: the request is as every SDK wants it', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const before = Date.now();
  await subscribe(await shop.connected(), 'news');
  await shop.hooks.shows('channel_occupied', 'news');
  const [{ method, path, rawHeaders, headers, rawBody }] = shop.hooks.requests;
  assert.deepEqual([method, path], ['POST', '/hooks']);
  assert.equal(headers['content-type'], 'application/json');
  assert.equal(headers['x-pusher-key'], app.key);
  for (const name of ['X-Pusher-Key', 'X-Pusher-Signature', 'Content-Type']) {
    assert.ok(rawHeaders.includes(name), `${name} is spelled so: ${rawHeaders}`);
  }
  const hook = JSON.parse(rawBody);
  assert.deepEqual(Object.keys(hook).sort(), ['events', 'time_ms']);
  assert.ok(Number.isInteger(hook.time_ms) && hook.time_ms >= before - 1000 && hook.time_ms <= Date.now() + 1000);
  const sdk = shop.server.webhook(shop.hooks.requests[0]);
  assert.ok(sdk.isValid());
  assert.deepEqual(sdk.getEvents(), [{ name: 'channel_occupied', channel: 'news' }]);
  assert.equal(sdk.getTime().getTime(), hook.time_ms);
  assert.equal(shop.serverSdk({ ...app, secret: 'wrong' }).webhook(shop.hooks.requests[0]).isValid(), false);
});

test('row 57: member_added and member_removed, once a user', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const tabs = await shop.onEachWorker(() => shop.connected({ user: 'u-17' }), () => shop.connected({ user: 'u-17' }));
  for (const tab of tabs) {
    await subscribe(tab, room);
  }
  const number = await shop.rawConnected();
  await number.subscribe(room, '{"user_id":42}');
  await shop.hooks.shows('member_added', room);
  await eventually(() => shop.hooks.about(room).length === 3, 'three events');
  tabs.forEach(tab => tab.disconnect());
  number.disconnect();
  await eventually(() => shop.hooks.about(room).length === 6, () => `six events: ${JSON.stringify(shop.hooks.about(room))}`);
  // Each worker has a sender of its own, so that what happened on two of them may arrive in either order.
  const wanted = [{ name: 'channel_occupied', channel: room }, { name: 'member_added', channel: room, user_id: 'u-17' },
    { name: 'member_added', channel: room, user_id: '42' }, { name: 'member_removed', channel: room, user_id: 'u-17' },
    { name: 'member_removed', channel: room, user_id: '42' }, { name: 'channel_vacated', channel: room }];
  const sorted = list => list.map(event => JSON.stringify(Object.entries(event).sort())).sort();
  assert.deepEqual(sorted(shop.hooks.about(room)), sorted(wanted));
});

test('row 57: what happens on one worker is told in its order', async t => {
  const shop = await Shop.open(t, { hooks: true, workers: 1 });
  const raws = [await shop.rawConnected(), await shop.rawConnected()];
  await raws[0].join(room, 'u-0');
  await raws[1].join(room, 'u-1');
  for (const raw of raws) {
    raw.disconnect();
    await raw.closed();
  }
  await shop.hooks.shows('channel_vacated', room);
  assert.deepEqual(shop.hooks.about(room), [{ name: 'channel_occupied', channel: room },
    { name: 'member_added', channel: room, user_id: 'u-0' }, { name: 'member_added', channel: room, user_id: 'u-1' },
    { name: 'member_removed', channel: room, user_id: 'u-0' }, { name: 'member_removed', channel: room, user_id: 'u-1' },
    { name: 'channel_vacated', channel: room }]);
});

test('row 57: client_event', async t => {
  const shop = await Shop.open(t, { hooks: true, rules: 'client_events on;' });
  const client = await shop.connected({ user: 'u-17' });
  (await subscribe(client, room)).trigger('client-typing', { on: true, who: 'Zoë' });
  (await subscribe(client, 'private-a')).trigger('client-text', 'text');
  const socketId = client.connection.socket_id;
  assert.deepEqual(await shop.hooks.shows('client_event', room), { name: 'client_event', channel: room, event: 'client-typing',
    data: '{"on":true,"who":"Zoë"}', socket_id: socketId, user_id: 'u-17' });
  assert.deepEqual(await shop.hooks.shows('client_event', 'private-a'), { name: 'client_event', channel: 'private-a',
    event: 'client-text', data: 'text', socket_id: socketId });
});

test('row 57: a client event that was refused makes no webhook', async t => {
  const shop = await Shop.open(t, { hooks: true, rules: 'client_events on rate=1r/s;' });
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await raw.subscribe('private-a');
  raw.send({ event: 'client-x', channel: 'news', data: 1 });
  for (let i = 0; i < 5; ++i) {
    raw.send({ event: 'client-x', channel: 'private-a', data: i });
  }
  const refused = (await raw.settled()).filter(({ event }) => event === 'pusher:error').length;
  raw.disconnect();
  await shop.hooks.shows('channel_vacated', 'private-a');
  assert.equal(names(shop, 'private-a').filter(name => name === 'client_event').length, 6 - refused);
  assert.ok(!names(shop, 'news').includes('client_event'));
});

test('row 57: only the events that were asked for', async t => {
  const shop = await Shop.open(t, { hooks: 'presence', rules: 'client_events on; subscription_count on;' });
  const client = await shop.connected({ user: 'u-17' });
  const channel = await subscribe(client, room);
  channel.trigger('client-x', 1);
  await subscribe(client, 'cache-nothing');
  client.disconnect();
  await shop.hooks.shows('member_removed', room);
  assert.deepEqual(shop.hooks.events(), [{ name: 'member_added', channel: room, user_id: 'u-17' },
    { name: 'member_removed', channel: room, user_id: 'u-17' }]);
});

test('row 58: cache_miss, and not once a client', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const clients = await Promise.all(Array.from({ length: 6 }, () => shop.connected()));
  await Promise.all(clients.map(client => subscribe(client, 'cache-btc')));
  assert.deepEqual(await shop.hooks.shows('cache_miss', 'cache-btc'), { name: 'cache_miss', channel: 'cache-btc' });
  clients.forEach(client => client.disconnect());
  await shop.hooks.shows('channel_vacated', 'cache-btc');
  const misses = names(shop, 'cache-btc').filter(name => name === 'cache_miss').length;
  assert.ok(misses < 6, `${misses} events for 6 subscriptions at once`);
  await shop.server.trigger('cache-full', 'price', 1);
  await subscribe(await shop.connected(), 'cache-full');
  await shop.hooks.shows('channel_occupied', 'cache-full');
  assert.ok(!names(shop, 'cache-full').includes('cache_miss'));
});

test('row 59: subscription_count', async t => {
  const shop = await Shop.open(t, { hooks: true, rules: 'subscription_count on;' });
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected({ user: 'u' }));
  await subscribe(one, 'news');
  assert.deepEqual(await shop.hooks.shows('subscription_count', 'news'),
    { name: 'subscription_count', channel: 'news', subscription_count: 1 });
  await subscribe(other, 'news');
  await subscribe(other, room);
  await eventually(() => shop.hooks.about('news').some(event => event.subscription_count === 2), 'two');
  await shop.hooks.shows('member_added', room);
  assert.ok(!names(shop, room).includes('subscription_count'));
});

test('row 60: what happens together is sent together', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const raw = await shop.rawConnected();
  for (let i = 0; i < 50; ++i) {
    raw.requestChannel(`c-${i}`);
  }
  await eventually(() => shop.hooks.events().length === 50, 'fifty events');
  assert.ok(shop.hooks.requests.length <= 25, `in ${shop.hooks.requests.length} requests`);
  assert.deepEqual(shop.hooks.events().map(({ channel }) => channel).sort(),
    Array.from({ length: 50 }, (_, i) => `c-${i}`).sort());
});

test('row 61: who comes back within three seconds was never away', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const page = await shop.connected({ user: 'u-17' });
  await subscribe(page, room);
  await subscribe(page, 'news');
  await shop.hooks.shows('member_added', room);
  for (let i = 0; i < 3; ++i) {
    page.disconnect();
    await eventually(async () => !(await shop.rest('GET', '/channels/news')).json.occupied, 'it is away');
    page.connect();
    await online(page);
    await eventually(() => page.channel(room).subscribed && page.channel('news').subscribed, 'it is back');
  }
  const left = Date.now();
  page.disconnect();
  await shop.hooks.shows('channel_vacated', room);
  await shop.hooks.shows('channel_vacated', 'news');
  const waited = Date.now() - left;
  assert.ok(waited > 1000 && waited < 5000, `${waited} ms after it left`);
  assert.deepEqual(names(shop, room), ['channel_occupied', 'member_added', 'member_removed', 'channel_vacated']);
  assert.deepEqual(names(shop, 'news'), ['channel_occupied', 'channel_vacated']);
});

test('row 61: a worker that is killed makes the same webhooks, once', async t => {
  const shop = await Shop.open(t, { hooks: true });
  shop.killed = true;
  const [, victim] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  await victim.join(room, 'victim');
  await shop.hooks.shows('member_added', room);
  await shop.nginx.killWorker(shop.nginx.workers()[1]);
  await shop.hooks.shows('channel_vacated', room, 15000);
  assert.deepEqual(names(shop, room), ['channel_occupied', 'member_added', 'member_removed', 'channel_vacated']);
});

test('row 62: a webhook that failed is sent again, the same bytes, and nothing is lost or out of order', async t => {
  const shop = await Shop.open(t, { hooks: true });
  shop.hooks.status = n => (n < 3 ? [500, 302, 404][n] : 200);
  const raw = await shop.rawConnected();
  await raw.subscribe('a');
  await eventually(() => shop.hooks.requests.length === 1, 'the first try');
  await raw.subscribe('b');
  await raw.subscribe('c');
  await shop.hooks.shows('channel_occupied', 'c', 30000);
  const tries = shop.hooks.requests.filter(({ rawBody }) => rawBody.includes('"a"'));
  assert.equal(tries.length, 4);
  assert.equal(new Set(tries.map(({ rawBody }) => rawBody)).size, 1);
  assert.equal(new Set(tries.map(({ headers }) => headers['x-pusher-signature'])).size, 1);
  const pauses = tries.slice(1).map(({ at }, i) => at - tries[i].at);
  assert.ok(pauses[0] >= 400 && pauses[2] > pauses[0], `it backs off: ${pauses}`);
  assert.deepEqual(shop.hooks.events().map(({ channel }) => channel), ['a', 'b', 'c']);
});

test('row 62: a receiver that hangs or is away disturbs nobody, and the status tells of it', async t => {
  const shop = await Shop.open(t, { hooks: true });
  await shop.hooks.stop();
  const client = await shop.connected({ user: 'u' });
  await subscribe(client, room);
  const started = Date.now();
  for (let i = 0; i < 20; ++i) {
    await shop.server.trigger(room, 'x', i);
  }
  assert.ok(Date.now() - started < 5000);
  await eventually(async () => {
    const status = await (await fetch(`${shop.url}/realtime/?format=json`)).text();
    return /webhook/i.test(status) && status;
  }, 'the status speaks of webhooks');
});

test('row 63: an app with several keys: each opens, the first signs the webhooks', async t => {
  const older = { id: app.id, key: app.key, secret: app.secret };
  const newer = { id: app.id, key: 'newer0key', secret: 'newer0secret' };
  const shop = await Shop.open(t, { hooks: true, rules: `key ${newer.key}; secret ${newer.secret};`, secrets: [newer.secret] });
  const sdks = [older, newer].map(credentials => shop.serverSdk(credentials));
  const clients = [await shop.connected({ key: older.key }), await shop.connected({ key: newer.key })];
  const channels = [];
  for (const client of clients) {
    channels.push(await subscribe(client, 'news'));
    await subscribe(client, 'private-a');
  }
  for (const [i, sdk] of sdks.entries()) {
    await sdk.trigger('news', 'x', i);
  }
  for (const channel of channels) {
    await eventually(() => channel.log.filter(([name]) => name === 'x').length === 2, 'both keys reach both');
  }
  // The other key's signature opens a private channel of a connection of this key, and its own secret only.
  const raw = await shop.rawConnected({ key: older.key });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-b', ...raw.authorization('private-b', undefined, newer) } });
  await raw.next('pusher_internal:subscription_succeeded');
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-c',
    ...raw.authorization('private-c', undefined, { key: newer.key, secret: older.secret }) } });
  await raw.next('pusher:subscription_error');
  await shop.hooks.shows('channel_occupied', 'news');
  assert.ok(shop.hooks.requests.every(({ headers }) => headers['x-pusher-key'] === older.key));
  assert.equal((await shop.rest('GET', '/channels', { credentials: newer })).status, 200);
});

test('rows 14, 61: a reload swallows no departure', async t => {
  const shop = await Shop.open(t, { hooks: true, http: 'realtime_drain 1s;' });
  const [one, other] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  for (const [i, raw] of [one, other].entries()) {
    await raw.join(`presence-${i}`, 'u-17');
    await shop.hooks.shows('member_added', `presence-${i}`);
    raw.disconnect();
    await raw.closed();
  }
  shop.nginx.reload();
  for (const i of [0, 1]) {
    await shop.hooks.shows('channel_vacated', `presence-${i}`, 15000);
    assert.deepEqual(names(shop, `presence-${i}`), ['channel_occupied', 'member_added', 'member_removed', 'channel_vacated']);
  }
});

test('rows 14, 61: clients that a reload moves make no webhooks', async t => {
  const shop = await Shop.open(t, { hooks: true, http: 'realtime_drain 1s;' });
  const clients = await shop.onEachWorker(() => shop.connected({ user: 'u-0' }), () => shop.connected({ user: 'u-1' }));
  for (const client of clients) {
    await subscribe(client, room);
  }
  await eventually(() => shop.hooks.about(room).length === 3, 'both are in');
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  await eventually(() => clients.every(client => client.channel(room)?.subscribed), 'both are there');
  await subscribe(await shop.connected(), 'later');
  clients.forEach(client => client.disconnect());
  await eventually(() => shop.hooks.about(room).length >= 6, () => JSON.stringify(shop.hooks.about(room)));
  assert.deepEqual(names(shop, room).sort(), ['channel_occupied', 'channel_vacated', 'member_added', 'member_added',
    'member_removed', 'member_removed']);
});
