// Channels, their authorization and their memory: rows 16 to 23 and 28 to 33.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sign } from './support/raw.js';
import { app, events, eventually, heard, listen, settled, Shop, subscribe } from './support/shop.js';

const succeeded = (channel, data = '{}') => ({ event: 'pusher_internal:subscription_succeeded', channel, data });
const published = (event, channel, data) => ({ event, channel, data });
const miss = channel => ({ event: 'pusher:cache_miss', channel, data: '{}' });

// Channel events carry an `id` beside what Pusher's have; SDKs do not look at it.
const withoutId = ({ id, ...frame }) => frame;

async function answers(raw) {
  return (await raw.settled()).filter(frame => frame.event !== 'pusher:connection_established').map(withoutId);
}

// The channel-scoped failure of a subscribe.
function failed(frames, channel, type, status) {
  assert.equal(frames.length, 1, JSON.stringify(frames));
  const [{ data, ...frame }] = frames;
  assert.deepEqual(frame, { event: 'pusher:subscription_error', channel });
  const detail = JSON.parse(data);
  assert.deepEqual(detail, { type, error: detail.error, status });
  assert.ok(detail.error.length > 0);
  assert.ok(!data.includes(app.secret));
}

test('row 16: pusher-js subscribes, hears, unsubscribes and hears no more, on both workers', async t => {
  const shop = await Shop.open(t);
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const news = [await subscribe(one, 'news'), await subscribe(other, 'news')];
  const sport = await subscribe(one, 'sport');
  await shop.server.trigger('news', 'created', { title: 'Zoë & "Z"' });
  for (const channel of news) {
    assert.deepEqual(await heard(channel, 'created'), [{ title: 'Zoë & "Z"' }]);
  }
  one.unsubscribe('news');
  await settled(shop, news[1], sport); // The unsubscribe may be overtaken by a publish, but not by two.
  await shop.server.trigger('news', 'again', 1);
  await settled(shop, news[1], sport);
  assert.deepEqual(events(news[1]), [['created', { title: 'Zoë & "Z"' }], ['again', 1]]);
  assert.deepEqual(events(news[0]), [['created', { title: 'Zoë & "Z"' }]]);
  assert.deepEqual(events(sport), []);
  await subscribe(one, 'news');
  assert.ok(!one.problems.length);
});

test('row 16: an unsubscribe from a channel that was never subscribed is silent', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await answers(raw);
  for (const data of [{ channel: 'never' }, { channel: 'news' }, { channel: 'news' }]) {
    raw.send({ event: 'pusher:unsubscribe', data });
  }
  assert.deepEqual(await answers(raw), []);
});

test('rows 16, 65: subscribe and unsubscribe also as a string of JSON, with keys that are not ours', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  raw.send({ event: 'pusher:subscribe', data: JSON.stringify({ channel: 'news' }) });
  assert.deepEqual(await answers(raw), [succeeded('news')]);
  raw.send({ event: 'pusher:unsubscribe', data: JSON.stringify({ channel: 'news' }) });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'news', auth: null, channel_data: null, filter: {}, delta: 1 } });
  assert.deepEqual(await answers(raw), [succeeded('news')]);
});

test('row 17: every kind of channel acknowledges with data', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.signedIn({ id: 'u-1' });
  await answers(raw);
  for (const channel of ['news', 'private-a', 'private-encrypted-a', '#server-to-user-u-1']) {
    raw.requestChannel(channel);
    assert.deepEqual(await answers(raw), [succeeded(channel)]);
  }
  for (const channel of ['cache-a', 'private-cache-a', 'private-encrypted-cache-a']) {
    raw.requestChannel(channel);
    assert.deepEqual(await answers(raw), [succeeded(channel), miss(channel)]);
  }
});

test('row 18: pusher-js hears why a subscription was refused, and stays connected', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected();
  const forged = listen(client.subscribe('private-forged'));
  const [error] = await heard(forged, 'pusher:subscription_error');
  assert.equal(error.type, 'AuthError');
  assert.equal(error.status, 401);
  const forbidden = listen(client.subscribe('private-forbidden'));
  assert.equal((await heard(forbidden, 'pusher:subscription_error'))[0].status, 403);
  await subscribe(client, 'private-allowed');
  assert.deepEqual(client.problems, []);
});

test('row 18: .NET\'s SDK is told under the name that it waits for', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected({ query: 'protocol=5&client=pusher-dotnet-client&version=2.3.1' });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a' } });
  const { data, channel } = await raw.next('pusher:subscription_error');
  const twin = await raw.next('pusher_internal:subscription_error');
  assert.deepEqual([twin.channel, twin.data], [channel, data]);
});

test('row 19: a second subscribe is a soft error, and nothing is delivered twice', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await raw.join('presence-room', 'u-1');
  await answers(raw);
  raw.requestChannel('news');
  raw.requestChannel('presence-room', JSON.stringify({ user_id: 'u-1' }));
  assert.deepEqual(await answers(raw), ['news', 'presence-room'].map(channel => ({
    event: 'pusher:error', data: { code: null, message: `Existing subscription to channel ${channel}` } })));
  await shop.server.trigger('news', 'once', 1);
  await raw.next('once');
  assert.deepEqual(await answers(raw), [published('once', 'news', '1')]);
  const { json } = await shop.rest('GET', '/channels/news', { parameters: { info: 'subscription_count' } });
  assert.deepEqual(json, { occupied: true, subscription_count: 1 });
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'news' } });
  await answers(raw);
  assert.deepEqual((await shop.rest('GET', '/channels/news')).json, { occupied: false });
});

test('row 20: the grammar of channel names', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await answers(raw);
  for (const channel of ['A_z-0=9@,.;', 'x', 'n'.repeat(164), 'n'.repeat(200), '-', 'cached', 'my-cache-x', 'Private-x',
    'PRESENCE-x', 'privateers', 'presence@x', 'cache_x']) {
    raw.send({ event: 'pusher:subscribe', data: { channel } });
    assert.deepEqual(await answers(raw), [succeeded(channel)]);
  }
  for (const channel of ['a b', 'a#b', '#a', '#server-to-user', 'ä', 'a/b', 'a:b', 'a\u0000b', 'a"b', 'a\\b', 'a*']) {
    raw.send({ event: 'pusher:subscribe', data: { channel } });
    failed(await answers(raw), channel, 'InvalidChannel', 400);
  }
  const long = 'n'.repeat(201);
  raw.send({ event: 'pusher:subscribe', data: { channel: long } });
  failed(await answers(raw), long, 'LimitReached', 4009);
});

test('row 21: a private channel needs the signature of this socket, this channel', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const other = await shop.rawConnected();
  await answers(raw);
  const good = raw.authorization('private-a').auth;
  const [key, signature] = good.split(':');
  const wrong = [undefined, null, '', 'nonsense', key, `${key}:`, signature, `:${signature}`, `${key}:${signature.slice(1)}`,
    `${key}:${signature}0`, `${key}:${'0'.repeat(64)}`, `${key}:${'g'.repeat(64)}`, 42, {}, [],
    other.authorization('private-a').auth, raw.authorization('private-b').auth];
  for (const auth of wrong) {
    raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a', auth } });
    failed(await answers(raw), 'private-a', 'AuthError', 401);
  }
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a', auth: good } });
  assert.deepEqual(await answers(raw), [succeeded('private-a')]);
});

test('row 21: the test vectors hold for a socket of their own kind', async t => {
  // The vectors name a socket that no server will ever hand out again, so what is checked is how a text is signed.
  assert.equal(sign('310462.91724455:private-orders-42'),
    'a50477f0dc7fafcfc3f41a9bbcee17edd48b32c30125fe8f3d707ea63501677e');
  assert.equal(sign('310462.91724455:presence-room-7:{"user_id":"u-17","user_info":{"name":"Zo\\u00eb \\/ \\"Z\\""}}'),
    '0966dca0623c2798c66cc17472af07e60f3a177c2e6d305a6917011fafa12a52');
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('private-orders-42');
  const inner = '{"user_id":"u-17","user_info":{"name":"Zo\\u00eb \\/ \\"Z\\""}}';
  const { data } = await raw.subscribe('presence-room-7', inner);
  assert.deepEqual(JSON.parse(data).presence, { count: 1, ids: ['u-17'], hash: { 'u-17': { name: 'Zoë / "Z"' } } });
  // And what is signed is the string, however its own escapes were written on the wire.
  const auth = raw.authorization('private-o').auth;
  raw.send(`{"event":"pusher:subscribe","data":{"channel":"private\\u002do","auth":"${auth.replace(':', '\\u003a')}"}}`);
  assert.equal((await raw.next(frame => frame.channel === 'private-o')).event, succeeded('').event);
});

test('row 22: the key in front of the signature counts', async t => {
  const shop = await Shop.open(t, { apps: 'realtime_app other { key otherkey; secret othersecret; }',
    secrets: ['othersecret'] });
  const raw = await shop.rawConnected();
  await answers(raw);
  const signature = raw.authorization('private-a').auth.split(':')[1];
  for (const key of ['wrong', '', 'otherkey', app.key.slice(1), `${app.key}0`, app.key.toUpperCase()]) {
    raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a', auth: `${key}:${signature}` } });
    failed(await answers(raw), 'private-a', 'AuthError', 401);
  }
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a',
    ...raw.authorization('private-a', undefined, { key: 'otherkey', secret: 'othersecret' }) } });
  failed(await answers(raw), 'private-a', 'AuthError', 401);
});

test('row 23: channel_data on a private channel is part of what is signed', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await answers(raw);
  const data = '{ "any":  "thing" }';
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-a', ...raw.authorization('private-a', data) } });
  assert.deepEqual(await answers(raw), [succeeded('private-a')]);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-b', auth: raw.authorization('private-b').auth,
    channel_data: data } });
  failed(await answers(raw), 'private-b', 'AuthError', 401);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-b', auth: raw.authorization('private-b', data).auth } });
  failed(await answers(raw), 'private-b', 'AuthError', 401);
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-b', auth: raw.authorization('private-b').auth,
    channel_data: { any: 'thing' } } });
  failed(await answers(raw), 'private-b', 'AuthError', 401);
  // The empty string: with or without the trailing colon.
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-c', auth: raw.authorization('private-c').auth,
    channel_data: '' } });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'private-d', ...raw.authorization('private-d', '') } });
  assert.deepEqual(await answers(raw), [succeeded('private-c'), succeeded('private-d')]);
});

test('rows 21, 23: the SDK on the server signs, pusher-js subscribes', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected({
    channelAuthorization: { customHandler: ({ socketId, channelName }, done) =>
      done(null, shop.server.authorizeChannel(socketId, channelName, { custom: 'Zoë' })) } });
  const channel = await subscribe(client, 'private-custom');
  await shop.server.trigger('private-custom', 'created', 'x');
  await heard(channel, 'created');
});

test('row 28: what the server SDK encrypts, pusher-js decrypts, and nobody between can read it', async t => {
  const shop = await Shop.open(t);
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const channels = [await subscribe(one, 'private-encrypted-orders'), await subscribe(other, 'private-encrypted-orders')];
  const spy = await shop.rawConnected();
  await spy.subscribe('private-encrypted-orders');
  await shop.server.trigger('private-encrypted-orders', 'shipped', { id: 42, to: 'Zoë' });
  for (const channel of channels) {
    assert.deepEqual(await heard(channel, 'shipped'), [{ id: 42, to: 'Zoë' }]);
  }
  const { data, text } = await spy.next('shipped');
  assert.deepEqual(Object.keys(JSON.parse(data)).sort(), ['ciphertext', 'nonce']);
  assert.ok(!text.includes('Zo'));
  await shop.server.triggerBatch([{ channel: 'private-encrypted-orders', name: 'batched', data: 'in a batch' }]);
  assert.deepEqual(await heard(channels[0], 'batched'), ['in a batch']);
});

test('row 29: a cache channel replays its last event, and only to who comes', async t => {
  const shop = await Shop.open(t);
  for (const [channel, data] of [['cache-btc', { usd: 1 }], ['private-cache-btc', 'text'], ['cache-empty-data', '']]) {
    await shop.server.trigger(channel, 'price', { usd: 0 });
    await shop.server.trigger(channel, 'price', data);
    const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
    const first = await subscribe(one, channel);
    assert.deepEqual(await heard(first, 'price'), [data]);
    const second = await subscribe(other, channel);
    assert.deepEqual(await heard(second, 'price'), [data]);
    await settled(shop, first, second);
    assert.deepEqual(events(first), [['price', data]]);
    assert.deepEqual(events(second), [['price', data]]);
  }
});

test('row 29: the replay comes right after the acknowledgement, as an ordinary frame', async t => {
  const shop = await Shop.open(t);
  await shop.server.trigger('cache-btc', 'App\\Events\\Price', '{"usd":  91234}');
  const raw = await shop.rawConnected();
  raw.requestChannel('cache-btc');
  await raw.next('App\\Events\\Price');
  assert.deepEqual(await answers(raw),
    [succeeded('cache-btc'), published('App\\Events\\Price', 'cache-btc', '{"usd":  91234}')]);
});

test('row 29: an event that excludes a socket is cached, a client event is not', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const raw = await shop.rawConnected();
  await raw.subscribe('private-cache-a');
  await raw.settled();
  await shop.server.trigger('private-cache-a', 'saved', 1, { socket_id: raw.socketId });
  raw.send({ event: 'client-typing', channel: 'private-cache-a', data: 1 });
  assert.deepEqual(await answers(raw), []);
  const late = await shop.rawConnected();
  late.requestChannel('private-cache-a');
  await late.next('saved');
  assert.deepEqual(await answers(late), [succeeded('private-cache-a'), published('saved', 'private-cache-a', '1')]);
});

test('row 30: a presence cache channel has members and a memory', async t => {
  const shop = await Shop.open(t);
  await shop.server.trigger('presence-cache-room', 'topic', 'hello');
  const client = await shop.connected({ user: 'u-1', name: 'Ada' });
  const room = await subscribe(client, 'presence-cache-room');
  assert.deepEqual(await heard(room, 'topic'), ['hello']);
  assert.equal(room.members.count, 1);
  assert.deepEqual(room.members.me, { id: 'u-1', info: { name: 'Ada' } });
  const raw = await shop.rawConnected();
  await raw.join('presence-cache-other', 'u-2');
  const [, ...rest] = await answers(raw);
  assert.deepEqual(rest, [miss('presence-cache-other')]);
});

test('row 31: an encrypted cache channel keeps the ciphertext', async t => {
  const shop = await Shop.open(t);
  await shop.server.trigger('private-encrypted-cache-a', 'secret-price', { usd: 7 });
  const client = await shop.connected();
  const channel = await subscribe(client, 'private-encrypted-cache-a');
  assert.deepEqual(await heard(channel, 'secret-price'), [{ usd: 7 }]);
});

test('row 32: pusher-js hears that a cache is empty, once', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected();
  const channel = await subscribe(client, 'cache-nothing');
  await heard(channel, 'pusher:cache_miss');
  await settled(shop, channel);
  assert.deepEqual(events(channel).map(([event]) => event), ['pusher:cache_miss']);
  client.unsubscribe('cache-nothing');
  const again = await subscribe(client, 'cache-nothing');
  await heard(again, 'mark'); // What settled() published is its last event now.
});

test('row 33: each subscriber is told how many they are, on all workers', async t => {
  const shop = await Shop.open(t, { rules: 'subscription_count on;' });
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const first = await subscribe(one, 'news');
  await eventually(() => first.subscriptionCount === 1, 'one');
  const second = await subscribe(other, 'news');
  await eventually(() => first.subscriptionCount === 2 && second.subscriptionCount === 2, 'two');
  assert.deepEqual((await heard(second, 'pusher:subscription_count')).at(-1), { subscription_count: 2 });
  other.disconnect();
  await eventually(() => first.subscriptionCount === 1, 'one again');
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  const { text, ...count } = await raw.next('pusher_internal:subscription_count');
  assert.deepEqual(count, { event: 'pusher_internal:subscription_count', channel: 'news', data: '{"subscription_count":2}' });
  assert.equal(raw.frames.findIndex(frame => frame.event === 'pusher_internal:subscription_succeeded'), 1);
});

test('row 33: not on presence channels, and only if it is on', async t => {
  const shop = await Shop.open(t, { rules: 'subscription_count on;' });
  const raw = await shop.rawConnected();
  await raw.join('presence-room', 'u-1');
  await raw.subscribe('private-a');
  await raw.next('pusher_internal:subscription_count');
  assert.deepEqual((await answers(raw)).filter(frame => frame.event === 'pusher_internal:subscription_count')
    .map(frame => frame.channel), ['private-a']);
  const quiet = await Shop.open(t);
  const other = await quiet.rawConnected();
  other.requestChannel('news');
  assert.deepEqual(await answers(other), [succeeded('news')]);
});

test('row 16: a hundred channels on one connection', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected();
  const names = Array.from({ length: 100 }, (_, i) => `channel-${i}`);
  const channels = await Promise.all(names.map(name => subscribe(client, name)));
  await shop.server.trigger(names, 'all', 'x');
  for (const channel of channels) {
    assert.deepEqual(await heard(channel, 'all'), ['x']);
  }
});

test('row 16: nothing published after the acknowledgement is lost or reordered', async t => {
  const shop = await Shop.open(t);
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const channels = [await subscribe(one, 'stream'), await subscribe(other, 'stream')];
  for (let i = 0; i < 200; ++i) {
    await shop.server.trigger('stream', 'n', i);
  }
  for (const channel of channels) {
    assert.deepEqual(await heard(channel, 'n', 200), Array.from({ length: 200 }, (_, i) => i));
  }
});
