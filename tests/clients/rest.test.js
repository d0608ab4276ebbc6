// The REST API: rows 44 to 56.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { md5, send, signedQuery } from './support/rest.js';
import { app, eventually, events, heard, settled, Shop, subscribe } from './support/shop.js';

const event = { name: 'created', channels: ['news'], data: '{"id":42}' };

function failed({ status, json }, wanted) {
  assert.equal(status, wanted, JSON.stringify(json));
  assert.deepEqual(Object.keys(json).sort(), ['code', 'error']);
  assert.equal(json.code, wanted);
  assert.ok(json.error.length > 0);
  assert.ok(!JSON.stringify(json).includes(app.secret));
}

async function succeeded(shop, method, path, options, json) {
  const answer = await shop.rest(method, path, options);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(answer.json, json);
}

// Three connections on the two workers: a public, a private and a presence channel are occupied.
async function occupied(shop) {
  const [one, other] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  const third = await shop.rawConnected();
  for (const raw of [one, other, third]) {
    await raw.subscribe('news');
  }
  await one.subscribe('private-orders');
  await one.join('presence-room', 'u-17', { name: 'Ada' });
  await other.join('presence-room', 'u-17');
  await third.join('presence-room', 'u-18');
  return [one, other, third];
}

test('row 44: the SDK triggers, pusher-js on both workers hears', async t => {
  const shop = await Shop.open(t);
  const clients = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const channels = [];
  for (const client of clients) {
    channels.push(await subscribe(client, 'news'), await subscribe(client, 'sport'));
  }
  const answer = await shop.server.trigger(['news', 'sport', 'nobody-is-here'], 'created', { id: 42 });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'application/json');
  assert.equal(await answer.text(), '{}');
  for (const channel of channels) {
    assert.deepEqual(await heard(channel, 'created'), [{ id: 42 }]);
  }
});

test('row 44: data arrives as the very string that was sent', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  for (const data of ['', 'text', '123', '{"b":1.0,"a":12345678901234567890, "c":"\\/\\u00eb"}', 'ë\u{1f600}\u2028', '"\\\n\t\u0001\u007f',
    'x'.repeat(10240)]) {
    await succeeded(shop, 'POST', '/events', { body: { name: 'App\\Events\\Created "x"', channel: 'news', data } }, {});
    const { text, id, ...frame } = await raw.next('App\\Events\\Created "x"');
    assert.deepEqual(frame, { event: 'App\\Events\\Created "x"', channel: 'news', data });
  }
  // What is no string arrives as its JSON text; what the body escaped, unescaped.
  await shop.rest('POST', '/events', { body: '{"name":"raw","channels":["news"],"data":{"a": [1.50]},"unknown":{"x":[null]}}' });
  assert.equal((await raw.next('raw')).data, '{"a": [1.50]}');
  await shop.rest('POST', '/events', { body: '{"name":"r\\u0061w","channel":"n\\u0065ws","data":"\\u00eb\\ud83d\\ude00","info":null,"socket_id":null}' });
  assert.equal((await raw.next('raw')).data, 'ë\u{1f600}');
});

test('row 44: channel and channels', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await raw.subscribe('sport');
  await raw.settled();
  const { channels, ...rest } = event;
  await succeeded(shop, 'POST', '/events', { body: { ...rest, channel: 'news' } }, {});
  await succeeded(shop, 'POST', '/events', { body: { ...rest, channel: 'sport', channels: ['news', 'news', 'sport', 'news'] } }, {});
  await shop.server.trigger('news', 'last', '');
  await raw.next('last');
  assert.deepEqual((await raw.settled()).map(({ channel, event: name }) => [channel, name]),
    [['news', 'created'], ['news', 'created'], ['sport', 'created'], ['news', 'last']], 'a repeated name counts once');
  const hundred = Array.from({ length: 100 }, (_, i) => `c-${i}`);
  await succeeded(shop, 'POST', '/events', { body: { ...rest, channels: hundred } }, {});
  failed(await shop.rest('POST', '/events', { body: { ...rest, channels: [...hundred, 'c-100'] } }), 400);
  await assert.rejects(() => shop.server.post({ path: '/events', body: { ...rest, channels: [...hundred, 'c-100'] } }),
    error => error.status === 400);
});

test('row 44: what is wrong with an event is answered with 400, and nobody hears of it', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await raw.settled();
  const bad = [
    '', '{', '[]', '"x"', 'null', '{}', '\u0000', `${'['.repeat(1000)}`, `{"a":${'['.repeat(100000)}`,
    { ...event, name: undefined }, { ...event, name: '' }, { ...event, name: 7 }, { ...event, name: 'n'.repeat(201) },
    { ...event, name: 'pusher:error' }, { ...event, name: 'pusher_internal:member_added' },
    { ...event, data: undefined }, { ...event, data: null },
    { ...event, channels: undefined }, { ...event, channels: [] }, { ...event, channels: 'news' }, { ...event, channels: [7] },
    { ...event, channels: ['news', 'a b'] }, { ...event, channels: ['news', ''] }, { ...event, channels: ['news', 'n'.repeat(201)] },
    { ...event, channels: ['news', '#other'] }, { ...event, channels: ['news', null] }, { ...event, channels: {} },
    { ...event, channels: undefined, channel: 7 }, { ...event, channels: undefined, channel: 'ä' },
    { ...event, socket_id: 'x' }, { ...event, socket_id: '1' }, { ...event, socket_id: '1.-2' }, { ...event, socket_id: 1.5 },
    { ...event, socket_id: '1.2\n' }, { ...event, info: 7 },
  ];
  for (const body of bad) {
    failed(await shop.rest('POST', '/events', { body }), 400);
  }
  await shop.server.trigger('news', 'last', '');
  await raw.next('last');
  assert.deepEqual((await raw.settled()).map(frame => frame.event), ['last']);
});

test('row 45: the socket that caused an event does not hear it, whichever worker it is on', async t => {
  const shop = await Shop.open(t);
  const clients = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const channels = [];
  for (const client of clients) {
    channels.push(await subscribe(client, 'news'));
  }
  for (let i = 0; i < 4; ++i) {
    for (const [j, client] of clients.entries()) {
      await shop.server.trigger('news', `by-${j}`, i, { socket_id: client.connection.socket_id });
      await succeeded(shop, 'POST', '/events', { body: { ...event, name: `by-${j}`, data: String(i),
        socket_id: client.connection.socket_id } }, {});
    }
  }
  await shop.server.trigger('news', 'by-nobody', 9, { socket_id: '1.1' });
  await settled(shop, ...channels);
  for (const [j, channel] of channels.entries()) {
    assert.deepEqual(events(channel), [...[0, 0, 1, 1, 2, 2, 3, 3].map(i => [`by-${1 - j}`, i]), ['by-nobody', 9]]);
  }
});

test('row 45: info in the answer of a trigger, true across workers', async t => {
  const shop = await Shop.open(t);
  await occupied(shop);
  const answer = await shop.server.trigger(['news', 'private-orders', 'presence-room', 'empty', 'presence-empty'], 'x', 1,
    { info: 'user_count,subscription_count' });
  assert.deepEqual(await answer.json(), { channels: {
    news: { subscription_count: 3 }, 'private-orders': { subscription_count: 1 },
    'presence-room': { user_count: 2, subscription_count: 3 }, empty: { subscription_count: 0 },
    'presence-empty': { user_count: 0, subscription_count: 0 } } });
  await succeeded(shop, 'POST', '/events', { body: { ...event, channels: ['news', 'news'], info: 'user_count' } },
    { channels: { news: {} } });
});

test('row 46: a batch', async t => {
  const shop = await Shop.open(t);
  const [one, other, third] = await occupied(shop);
  for (const raw of [one, other, third]) {
    await raw.settled();
  }
  const plain = await shop.server.triggerBatch([
    { channel: 'news', name: 'a', data: { n: 1 } }, { channel: 'presence-room', name: 'b', data: 'two', socket_id: one.socketId },
    { channel: 'news', name: 'c', data: 3 }]);
  assert.equal(plain.status, 200);
  assert.equal(await plain.text(), '{}');
  await other.next('c');
  await one.next('c');
  assert.deepEqual((await other.settled()).map(({ event: name, channel, data }) => [name, channel, data]),
    [['a', 'news', '{"n":1}'], ['b', 'presence-room', 'two'], ['c', 'news', '3']]);
  assert.deepEqual((await one.settled()).map(({ event: name }) => name), ['a', 'c']);
  const informed = await shop.server.triggerBatch([{ channel: 'news', name: 'a', data: 1, info: 'subscription_count' },
    { channel: 'presence-room', name: 'b', data: 2 }, { channel: 'presence-room', name: 'b', data: 2, info: 'user_count' }]);
  assert.deepEqual(await informed.json(), { batch: [{ subscription_count: 3 }, {}, { user_count: 2 }] });
});

test('row 46: a batch is published as a whole or not at all', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  await raw.settled();
  const item = { channel: 'news', name: 'batched', data: '' };
  await succeeded(shop, 'POST', '/batch_events', { body: { batch: [] } }, {});
  for (const body of [{}, { batch: {} }, { batch: null }, { batch: 'x' }, [], '', { batch: [item, 7] }, { batch: [item, {}] },
    { batch: [item, { ...item, channel: 'a b' }] }, { batch: [item, { ...item, name: undefined }] },
    { batch: [item, { ...item, socket_id: 'x' }] }, { batch: [item, { ...item, name: 'pusher:x' }] }, { batch: Array(11).fill(item) }]) {
    failed(await shop.rest('POST', '/batch_events', { body }), 400);
  }
  failed(await shop.rest('POST', '/batch_events', { body: { batch: [item, { ...item, data: 'x'.repeat(10241) }] } }), 413);
  await succeeded(shop, 'POST', '/batch_events', { body: { batch: Array.from({ length: 10 }, (_, i) => ({ ...item, name: `n${i}` })) } }, {});
  await raw.next('n9');
  assert.deepEqual((await raw.settled()).map(frame => frame.event), Array.from({ length: 10 }, (_, i) => `n${i}`));
});

test('row 46: a batch of ten events of 10 KiB, escaped sixfold, fits', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.subscribe('news');
  const data = '\u0001'.repeat(10240);
  const batch = Array.from({ length: 10 }, (_, i) => ({ channel: 'news', name: `n${i}`, data }));
  const body = JSON.stringify({ batch });
  assert.ok(body.length > 610000);
  await succeeded(shop, 'POST', '/batch_events', { body }, {});
  assert.equal((await raw.next('n9')).data, data);
});

test('row 47: the channels that are occupied, by prefix', async t => {
  const shop = await Shop.open(t);
  assert.equal((await shop.rest('GET', '/channels')).text.replaceAll(' ', ''), '{"channels":{}}');
  const all = await occupied(shop);
  await succeeded(shop, 'GET', '/channels', {}, { channels: { news: {}, 'private-orders': {}, 'presence-room': {} } });
  await succeeded(shop, 'GET', '/channels', { parameters: { filter_by_prefix: 'pr' } },
    { channels: { 'private-orders': {}, 'presence-room': {} } });
  await succeeded(shop, 'GET', '/channels', { parameters: { filter_by_prefix: 'private-' } }, { channels: { 'private-orders': {} } });
  await succeeded(shop, 'GET', '/channels', { parameters: { filter_by_prefix: 'nothing' } }, { channels: {} });
  const answer = await shop.server.get({ path: '/channels', params: { filter_by_prefix: 'presence-', info: 'user_count' } });
  assert.deepEqual(await answer.json(), { channels: { 'presence-room': { user_count: 2 } } });
  all.forEach(raw => raw.disconnect());
  await eventually(async () => (await shop.rest('GET', '/channels')).text.replaceAll(' ', '') === '{"channels":{}}', 'all are gone');
});

test('row 48: user_count needs the presence prefix', async t => {
  const shop = await Shop.open(t);
  await occupied(shop);
  for (const parameters of [{ info: 'user_count' }, { info: 'user_count', filter_by_prefix: 'p' },
    { info: 'subscription_count,user_count', filter_by_prefix: 'private-' }, { info: 'user_count', filter_by_prefix: 'presence' }]) {
    failed(await shop.rest('GET', '/channels', { parameters }), 400);
  }
  await succeeded(shop, 'GET', '/channels', { parameters: { info: 'user_count,subscription_count', filter_by_prefix: 'presence-r' } },
    { channels: { 'presence-room': { user_count: 2, subscription_count: 3 } } });
  await succeeded(shop, 'GET', '/channels', { parameters: { info: 'subscription_count', filter_by_prefix: 'n' } },
    { channels: { news: { subscription_count: 3 } } });
});

test('row 49: one channel', async t => {
  const shop = await Shop.open(t);
  await occupied(shop);
  await succeeded(shop, 'GET', '/channels/news', {}, { occupied: true });
  await succeeded(shop, 'GET', '/channels/never', {}, { occupied: false });
  await succeeded(shop, 'GET', '/channels/presence-never', { parameters: { info: 'user_count' } }, { occupied: false, user_count: 0 });
  const answer = await shop.server.get({ path: '/channels/presence-room', params: { info: 'user_count,subscription_count' } });
  assert.deepEqual(await answer.json(), { occupied: true, user_count: 2, subscription_count: 3 });
  await succeeded(shop, 'GET', '/channels/private-orders', { parameters: { info: 'subscription_count' } },
    { occupied: true, subscription_count: 1 });
  for (const [channel, info] of [['news', 'user_count'], ['news', 'cache'], ['news', 'nonsense'], ['presence-room', 'cache'],
    ['presence-room', 'user_count,nonsense']]) {
    failed(await shop.rest('GET', `/channels/${channel}`, { parameters: { info } }), 400);
  }
  failed(await shop.rest('GET', '/channels/a%20b'), 400);
  failed(await shop.rest('GET', `/channels/${'n'.repeat(201)}`), 400);
  await succeeded(shop, 'GET', '/channels/A_z-0=9@,.;', {}, { occupied: false });
});

test('row 50: what a cache channel holds', async t => {
  const shop = await Shop.open(t);
  await succeeded(shop, 'GET', '/channels/cache-btc', { parameters: { info: 'cache' } }, { occupied: false, cache: null });
  await shop.server.trigger('cache-btc', 'price', '{"usd":  91234}');
  const raw = await shop.rawConnected();
  await raw.subscribe('cache-btc');
  const { json } = await shop.rest('GET', '/channels/cache-btc', { parameters: { info: 'cache,subscription_count' } });
  assert.deepEqual(json, { occupied: true, subscription_count: 1, cache: { data: '{"usd":  91234}', ttl: json.cache.ttl } });
  assert.ok(Number.isInteger(json.cache.ttl) && json.cache.ttl > 0 && json.cache.ttl <= 1800, String(json.cache.ttl));
});

test('row 51: the users of a presence channel', async t => {
  const shop = await Shop.open(t);
  await occupied(shop);
  const { users } = await (await shop.server.get({ path: '/channels/presence-room/users' })).json();
  assert.deepEqual(users.sort((a, b) => (a.id < b.id ? -1 : 1)), [{ id: 'u-17' }, { id: 'u-18' }]);
  await succeeded(shop, 'GET', '/channels/presence-empty/users', {}, { users: [] });
  failed(await shop.rest('GET', '/channels/news/users'), 400);
  failed(await shop.rest('GET', '/channels/private-orders/users'), 400);
});

test('row 52: what is not signed rightly is answered with 401', async t => {
  const shop = await Shop.open(t, { apps: 'realtime_app other { key otherkey; secret othersecret; }', secrets: ['othersecret'] });
  const body = JSON.stringify(event);
  await succeeded(shop, 'POST', '/events', { body }, {});
  for (const parameters of [{ auth_key: undefined }, { auth_signature: undefined }, { auth_timestamp: undefined },
    { auth_version: undefined }, { body_md5: undefined }, { body_md5: md5(`${body} `) }, { body_md5: md5('') }, { body_md5: '' },
    { auth_signature: '0'.repeat(64) }, { auth_signature: '' }, { auth_signature: 'x'.repeat(64) }, { auth_key: 'wrong' },
    { auth_key: 'otherkey' }, { auth_key: '' }]) {
    failed(await shop.rest('POST', '/events', { body, parameters }), 401);
  }
  failed(await shop.rest('POST', '/events', { body, credentials: { key: app.key, secret: 'wrong' } }), 401);
  failed(await shop.rest('POST', '/events', { body, credentials: { key: 'otherkey', secret: 'othersecret' } }), 401);
  failed(await shop.rest('POST', '/events', { body, signedPath: '/apps/731/batch_events' }), 401);
  // Parameters that are repeated, added or changed later.
  const query = signedQuery('POST', '/apps/731/events', body);
  for (const changed of [`${query}&auth_key=${app.key}`, `${query}&auth_version=1.0`, `${query}&x=y`, query.replace('1.0', '1%2e1'),
    query.replace(/auth_signature=./, 'auth_signature=z'), '', '&', 'auth_key', '%', '%zz=%'].values()) {
    const answer = await send(shop, 'POST', `/apps/731/events?${changed}`, body);
    assert.equal(answer.status, 401, changed);
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(JSON.parse(answer.text).code, 401);
  }
  const bad = shop.serverSdk({ ...app, secret: 'wrong' });
  await assert.rejects(() => bad.trigger('news', 'x', 1), error => error.status === 401);
});

test('row 52: as the SDKs sign: any order, any case of names, percent-encoded or not', async t => {
  const shop = await Shop.open(t);
  await occupied(shop);
  const query = signedQuery('GET', '/apps/731/channels/presence-room', '', { parameters: { info: 'subscription_count,user_count' } });
  const wanted = { occupied: true, subscription_count: 3, user_count: 2 };
  assert.ok(query.includes('info=subscription_count%2Cuser_count'));
  for (const form of [query, query.replace('%2C', ','), query.replace('%2C', '%2c'), query.split('&').reverse().join('&'),
    query.replace('info=', 'inf%6f=')]) {
    const answer = await send(shop, 'GET', `/apps/731/channels/presence-room?${form}`);
    assert.equal(answer.status, 200, `${form}: ${answer.text}`);
    assert.deepEqual(JSON.parse(answer.text), wanted);
  }
  // The percent-encoded path is signed as it is meant, or as it is written.
  for (const signedPath of ['/apps/731/users/ann lee/terminate_connections', '/apps/731/users/ann%20lee/terminate_connections']) {
    await succeeded(shop, 'POST', '/users/ann%20lee/terminate_connections', { body: '{}', signedPath }, {});
  }
  // Ruby's arrays: the same name twice, in order.
  const unsigned = `auth_key=${app.key}&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&k[]=a&k[]=b`;
  const signature = shop.server.config.token.sign(`GET\n/apps/731/channels\n${unsigned}`);
  assert.equal((await send(shop, 'GET', `/apps/731/channels?${unsigned}&auth_signature=${signature}`)).status, 200);
});

test('row 52: behind a prefix, the path is signed from /apps/ on, or as a whole', async t => {
  const shop = await Shop.open(t, { server: 'location /mounted/apps/ { realtime_pusher api; }' });
  for (const signedPath of ['/apps/731/channels', '/mounted/apps/731/channels']) {
    const query = signedQuery('GET', signedPath, '');
    const answer = await send(shop, 'GET', `/mounted/apps/731/channels?${query}`);
    assert.equal(answer.status, 200, answer.text);
  }
});

test('row 53: a request from long ago, from the future or of another version is refused', async t => {
  const shop = await Shop.open(t);
  const now = Math.floor(Date.now() / 1000);
  for (const timestamp of [now - 601, now + 601, 0, -1, 'x', '', `${now}x`, `+${now}`, '18446744073709551616', `${now}.5`]) {
    failed(await shop.rest('POST', '/events', { body: event, parameters: { auth_timestamp: timestamp } }), 401);
  }
  for (const timestamp of [now - 590, now + 590]) {
    await succeeded(shop, 'POST', '/events', { body: event, parameters: { auth_timestamp: timestamp } }, {});
  }
  for (const version of ['1.1', '2.0', '', '1', '1.00']) {
    failed(await shop.rest('POST', '/events', { body: event, parameters: { auth_version: version } }), 401);
  }
});

test('row 54: the MD5 of an empty body, as Python\'s SDK signs it', async t => {
  const shop = await Shop.open(t);
  await succeeded(shop, 'GET', '/channels', { parameters: { body_md5: md5('') } }, { channels: {} });
  failed(await shop.rest('GET', '/channels', { parameters: { body_md5: md5('x') } }), 401);
  await succeeded(shop, 'POST', '/users/u-1/terminate_connections', {}, {});
});

test('row 55: data of 10240 bytes fits, one more is 413, counted after decoding, in bytes', async t => {
  const shop = await Shop.open(t);
  for (const data of ['x'.repeat(10240), '\u0001'.repeat(10240), 'é'.repeat(5120)]) {
    await succeeded(shop, 'POST', '/events', { body: { ...event, data } }, {});
  }
  for (const data of ['x'.repeat(10241), 'é'.repeat(5121), 'x'.repeat(11264)]) {
    failed(await shop.rest('POST', '/events', { body: { ...event, data } }), 413);
  }
  await assert.rejects(() => shop.server.trigger('news', 'x', 'x'.repeat(11264)), error => error.status === 413);
});

test('row 55: a body that is far too large is 413 with a JSON body', async t => {
  const shop = await Shop.open(t, { server: 'client_max_body_size 8m;' });
  const body = JSON.stringify({ ...event, data: 'x'.repeat(3 << 20) });
  const query = signedQuery('POST', '/apps/731/events', body);
  const answer = await send(shop, 'POST', `/apps/731/events?${query}`, body).catch(error => error);
  assert.equal(answer.status, 413, String(answer));
  assert.equal(JSON.parse(answer.text).code, 413);
});

test('row 44: unknown routes and wrong methods have JSON bodies', async t => {
  const shop = await Shop.open(t);
  for (const path of ['', '/', '/nothing', '/channels/', '/channels/news/nothing', '/users', '/users/u', '/events/x']) {
    failed(await shop.rest('GET', path), 404);
  }
  failed(await shop.rest('GET', '/channels', { id: 'unknown' }), 404);
  for (const [method, path, allow] of [['GET', '/events', 'POST'], ['GET', '/batch_events', 'POST'], ['POST', '/channels', 'GET'],
    ['PUT', '/events', 'POST'], ['DELETE', '/channels/news', 'GET'], ['POST', '/channels/presence-x/users', 'GET'],
    ['GET', '/users/u/terminate_connections', 'POST']]) {
    const answer = await shop.rest(method, path, { body: method === 'GET' ? '' : '{}' });
    failed(answer, 405);
    assert.match(answer.headers.allow, new RegExp(`\\b${allow}\\b`));
  }
});

test('row 56: the routes of 2012 are not offered', async t => {
  const shop = await Shop.open(t);
  failed(await shop.rest('POST', '/channels/news/events', { body: '{}', parameters: { name: 'x' } }), 404);
  failed(await shop.rest('GET', '/channels/news/stats'), 404);
});

test('row 52: one app cannot speak for another', async t => {
  const other = { id: 'other', key: 'otherkey', secret: 'othersecret' };
  const shop = await Shop.open(t, { apps: `realtime_app ${other.id} { key ${other.key}; secret ${other.secret}; }`,
    secrets: [other.secret] });
  const mine = await subscribe(await shop.connected(), 'news');
  const theirs = await subscribe(await shop.connected({ key: other.key }), 'news');
  await shop.serverSdk(other).trigger('news', 'theirs', 1);
  await shop.server.trigger('news', 'mine', 1);
  await heard(mine, 'mine');
  await heard(theirs, 'theirs');
  assert.deepEqual(events(mine), [['mine', 1]]);
  assert.deepEqual(events(theirs), [['theirs', 1]]);
  failed(await shop.rest('GET', '/channels', { credentials: other }), 401);
});

test('rows 44, 52: a request may be repeated within its time, but not with another body', async t => {
  const shop = await Shop.open(t);
  const body = JSON.stringify(event);
  const query = signedQuery('POST', '/apps/731/events', body);
  for (let i = 0; i < 3; ++i) {
    const answer = await send(shop, 'POST', `/apps/731/events?${query}`, body);
    assert.equal(answer.status, 200);
  }
  assert.equal((await send(shop, 'POST', `/apps/731/events?${query}`, body.replace('42', '43'))).status, 401);
});
