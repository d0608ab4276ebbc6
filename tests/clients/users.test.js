// Users: rows 38 to 43.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { app, errorCodes, eventually, heard, listen, online, Shop, subscribe } from './support/shop.js';

// pusher-js, signed in. `client.user.log` has what the user hears.
async function signedIn(shop, options) {
  const client = await shop.connected(options);
  listen(client.user);
  client.watched = [];
  for (const name of ['online', 'offline']) {
    client.user.watchlist.bind(name, ({ user_ids: ids }) => client.watched.push([name, ids]));
  }
  client.signin();
  await eventually(() => client.user.serverToUserChannel?.subscribed, () => `${options.user} signs in`);
  return client;
}

const list = raw => raw.frames.filter(frame => frame.event === 'pusher_internal:watchlist_events')
  .map(frame => JSON.parse(frame.data).events);

test('row 38: pusher-js signs in', async t => {
  const shop = await Shop.open(t);
  const client = await signedIn(shop, { user: 'u-17', name: 'Zoë' });
  assert.deepEqual(client.user.user_data, { id: 'u-17', user_info: { name: 'Zoë' } });
  await client.user.signinDonePromise;
  assert.deepEqual(client.problems, []);
});

test('row 38: signin_success has the very string that was sent', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const data = '{ "id":"u-17", "user_info": {"n":"Zo\\u00eb \\/"}, "other": 12345678901234567890 }';
  const { text, ...frame } = await raw.signedIn(data);
  assert.deepEqual(Object.keys(frame).sort(), ['data', 'event']);
  assert.equal(JSON.parse(frame.data).user_data, data);
  // The same id again is a success, another one is an error and changes nothing.
  await raw.signedIn({ id: 'u-17' });
  raw.signIn({ id: 'u-18' });
  assert.equal((await raw.next('pusher:error')).channel, undefined);
  await raw.subscribe('#server-to-user-u-17');
  raw.requestChannel('#server-to-user-u-18');
  await raw.next('pusher:subscription_error');
});

test('row 38: a bad sign-in is a soft error with 4009, and the connection is kept', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const other = await shop.rawConnected();
  await raw.settled();
  const good = (socketId, text) => shop.server.authenticateUser(socketId, JSON.parse(text)).auth;
  const text = '{"id":"u-17"}';
  const bad = [
    {}, { auth: good(raw.socketId, text) }, { user_data: text }, { auth: 'nonsense', user_data: text },
    { auth: `${app.key}:${'0'.repeat(64)}`, user_data: text }, { auth: good(other.socketId, text), user_data: text },
    { auth: good(raw.socketId, text), user_data: '{"id":"u-18"}' }, { auth: 7, user_data: text },
    { auth: good(raw.socketId, text), user_data: { id: 'u-17' } },
  ];
  for (const data of bad) {
    raw.send({ event: 'pusher:signin', data });
    const frames = await raw.settled();
    assert.deepEqual(frames.map(({ event, data: { code } }) => [event, code]), [['pusher:error', 4009]], JSON.stringify(data));
  }
  // Well signed, but nobody.
  for (const data of ['{}', '{"id":""}', '{"id":7}', '{"id":null}', '[]', '"u-17"', 'nonsense',
    `{"id":"${'x'.repeat(201)}"}`, '{"id":"a\\u0000b"}']) {
    raw.signIn(data);
    const frames = await raw.settled();
    assert.deepEqual(frames.map(({ event }) => event), ['pusher:error'], data);
  }
  await raw.signedIn(text);
});

test('row 38: a client that reconnects is signed in again', async t => {
  const shop = await Shop.open(t);
  shop.killed = true;
  const client = await signedIn(shop, { user: 'u-17' });
  const before = client.connection.socket_id;
  for (const pid of shop.nginx.workers()) {
    await shop.nginx.killWorker(pid);
  }
  await eventually(() => client.connection.socket_id !== before, 'it is back');
  await online(client);
  await eventually(() => client.user.serverToUserChannel?.subscribed, 'signed in');
  await shop.server.sendToUser('u-17', 'hello', 1);
  await heard(client.user, 'hello');
});

test('row 39: what is sent to a user reaches each of its connections, once, on all workers', async t => {
  const shop = await Shop.open(t);
  const tabs = await shop.onEachWorker(() => signedIn(shop, { user: 'u-17' }), () => signedIn(shop, { user: 'u-17' }));
  const other = await signedIn(shop, { user: 'u-18' });
  await shop.server.sendToUser('u-17', 'invoice-ready', { no: 7 });
  await shop.server.sendToUser('u-17', 'last', 1);
  await shop.server.sendToUser('u-18', 'last', 1);
  for (const client of [...tabs, other]) {
    await heard(client.user, 'last');
  }
  for (const client of tabs) {
    assert.deepEqual(client.user.log, [['invoice-ready', { no: 7 }], ['last', 1]]);
  }
  assert.deepEqual(other.user.log, [['last', 1]]);
});

test('row 39: only who is signed in as that user may subscribe to its channel', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  const refused = async (channel, type = 'AuthError', status = 401) => {
    raw.send({ event: 'pusher:subscribe', data: { auth: '', channel } });
    const [{ data, ...frame }, ...rest] = await raw.settled();
    assert.deepEqual(rest, []);
    assert.deepEqual(frame, { event: 'pusher:subscription_error', channel });
    assert.deepEqual([JSON.parse(data).type, JSON.parse(data).status], [type, status]);
  };
  await refused('#server-to-user-u-17');
  const id = `u-17-${'x'.repeat(190)}`;
  await raw.signedIn({ id });
  await raw.settled();
  await refused('#server-to-user-u-17');
  await refused(`#server-to-user-${id}x`);
  await refused('#server-to-user-', 'InvalidChannel', 400);
  const { text, ...frame } = await raw.subscribe(`#server-to-user-${id}`);
  assert.deepEqual(frame, { event: 'pusher_internal:subscription_succeeded', channel: `#server-to-user-${id}`, data: '{}' });
  await shop.server.sendToUser(id, 'hello', 'x');
  const { text: hello, id: position, ...event } = await raw.next('hello');
  assert.deepEqual(event, { event: 'hello', channel: `#server-to-user-${id}`, data: 'x' });
});

test('row 39: a user\'s channel is in no list', async t => {
  const shop = await Shop.open(t, { hooks: true });
  const client = await signedIn(shop, { user: 'u-17' });
  await subscribe(client, 'news');
  await shop.server.sendToUser('u-17', 'hello', 1, {});
  await heard(client.user, 'hello');
  assert.deepEqual((await shop.rest('GET', '/channels')).json, { channels: { news: {} } });
  await shop.hooks.shows('channel_occupied', 'news');
  assert.deepEqual(shop.hooks.events().filter(event => event.channel.startsWith('#')), []);
});

test('row 39: an excluded socket does not get what is sent to its user', async t => {
  const shop = await Shop.open(t);
  const tabs = await shop.onEachWorker(() => signedIn(shop, { user: 'u-17' }), () => signedIn(shop, { user: 'u-17' }));
  await shop.rest('POST', '/events', { body: { name: 'moved', channels: ['#server-to-user-u-17'], data: '1',
    socket_id: tabs[0].connection.socket_id } });
  await shop.server.sendToUser('u-17', 'last', 1);
  await heard(tabs[0].user, 'last');
  await heard(tabs[1].user, 'last');
  assert.deepEqual(tabs[0].user.log, [['last', 1]]);
  assert.deepEqual(tabs[1].user.log, [['moved', 1], ['last', 1]]);
});

test('row 40: pusher-js hears who of its watchlist comes and goes, on all workers', async t => {
  const shop = await Shop.open(t, { rules: 'watchlist on;' });
  const [lin] = await shop.onEachWorker(() => signedIn(shop, { user: 'u-18' }));
  const [, ada] = await shop.onEachWorker(() => shop.connected(),
    () => signedIn(shop, { user: 'u-17', watchlist: 'u-18,u-19' }));
  await eventually(() => ada.watched.length === 2, 'the state at first');
  assert.deepEqual(ada.watched.sort(), [['offline', ['u-19']], ['online', ['u-18']]]);
  const sam = await signedIn(shop, { user: 'u-19' });
  await eventually(() => ada.watched.length === 3, 'u-19 comes');
  const again = await signedIn(shop, { user: 'u-18' });
  lin.disconnect();
  sam.disconnect();
  await eventually(() => ada.watched.length === 4, 'u-19 goes');
  again.disconnect();
  await eventually(() => ada.watched.length === 5, 'u-18 goes');
  assert.deepEqual(ada.watched.slice(2), [['online', ['u-19']], ['offline', ['u-19']], ['offline', ['u-18']]],
    'a second tab of u-18 made no event');
});

test('row 40: the frame, and what makes none', async t => {
  const shop = await Shop.open(t, { rules: 'watchlist on;' });
  const raw = await shop.rawConnected();
  await raw.signedIn({ id: 'u-17', watchlist: ['u-18', 7, 'u-17'] });
  const { text, ...frame } = await raw.next('pusher_internal:watchlist_events');
  assert.deepEqual(Object.keys(frame).sort(), ['data', 'event']);
  const events = JSON.parse(frame.data).events;
  assert.deepEqual(events.find(({ name }) => name === 'offline').user_ids, ['u-18']);
  // Who is in presence channels only, is not online.
  const present = await shop.rawConnected();
  await present.join('presence-room', 'u-18');
  // An empty watchlist makes no event, nor does one where it is off.
  const nobody = await shop.rawConnected();
  await nobody.signedIn({ id: 'u-20', watchlist: [] });
  await nobody.settled();
  assert.deepEqual(list(nobody), []);
  await raw.settled();
  assert.equal(list(raw).length, 1);
  const off = await Shop.open(t);
  const other = await off.rawConnected();
  await other.signedIn({ id: 'u-17', watchlist: ['u-18'] });
  await other.settled();
  assert.deepEqual(list(other), []);
});

test('row 40: of a longer watchlist the first hundred count, and 4302 says so', async t => {
  const shop = await Shop.open(t, { rules: 'watchlist on;' });
  const raw = await shop.rawConnected();
  await raw.signedIn({ id: 'u-17', watchlist: Array.from({ length: 101 }, (_, i) => `w-${i}`) });
  const { data } = await raw.next('pusher:error');
  assert.equal(data.code, 4302);
  assert.match(data.message, /100/);
  await raw.next('pusher_internal:watchlist_events');
  assert.equal(list(raw)[0][0].user_ids.length, 100);
  const [in100, beyond] = [await shop.rawConnected(), await shop.rawConnected()];
  await beyond.signedIn({ id: 'w-100' });
  await in100.signedIn({ id: 'w-99' });
  await raw.next('pusher_internal:watchlist_events');
  assert.deepEqual(list(raw)[1], [{ name: 'online', user_ids: ['w-99'] }]);
});

test('row 40: the users of a worker that was killed go offline', async t => {
  const shop = await Shop.open(t, { rules: 'watchlist on;' });
  shop.killed = true;
  const [raw, victim] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  await victim.signedIn({ id: 'victim' });
  await raw.signedIn({ id: 'u-17', watchlist: ['victim'] });
  await raw.next('pusher_internal:watchlist_events');
  await shop.nginx.killWorker(shop.nginx.workers()[1]);
  await raw.next('pusher_internal:watchlist_events');
  assert.deepEqual(list(raw), [[{ name: 'online', user_ids: ['victim'] }], [{ name: 'offline', user_ids: ['victim'] }]]);
});

test('rows 13, 41: terminating a user closes each of its connections with 4009, and no other', async t => {
  const shop = await Shop.open(t);
  const tabs = await shop.onEachWorker(() => signedIn(shop, { user: 'u-17' }), () => signedIn(shop, { user: 'u-17' }));
  const raw = await shop.rawConnected();
  await raw.signedIn({ id: 'u-17' });
  const other = await signedIn(shop, { user: 'u-18' });
  const present = await shop.rawConnected();
  await present.join('presence-room', 'u-17');
  const answer = await shop.server.terminateUserConnections('u-17');
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), {});
  for (const client of tabs) {
    await eventually(() => client.connection.state === 'disconnected', 'it is closed, and stays so');
    assert.equal(errorCodes(client)[0], 4009);
  }
  const { code } = await raw.closed();
  assert.equal(code, 4009);
  assert.equal(raw.frames.at(-1).event, 'pusher:error');
  assert.equal(raw.frames.at(-1).data.code, 4009);
  await present.settled();
  assert.equal(other.connection.state, 'connected');
  tabs[0].connect();
  await online(tabs[0]); // Nothing keeps it from coming back.
  assert.deepEqual((await shop.rest('POST', '/users/nobody/terminate_connections', { body: '{}' })).json, {});
});

test('row 42: who has not shown in time who he is, is closed with 4009', async t => {
  const shop = await Shop.open(t, { rules: 'authorized_connections 1s;' });
  const signed = await shop.rawConnected();
  await signed.signedIn({ id: 'u-17' });
  const inPrivate = await shop.rawConnected();
  await inPrivate.subscribe('private-a');
  const inEncrypted = await shop.rawConnected();
  await inEncrypted.subscribe('private-encrypted-a');
  const inPresence = await shop.rawConnected();
  await inPresence.join('presence-a', 'u');
  const nobody = await shop.rawConnected();
  await nobody.subscribe('news');
  await nobody.subscribe('cache-news');
  const refused = await shop.rawConnected();
  refused.send({ event: 'pusher:subscribe', data: { channel: 'private-a', auth: 'bad:bad' } });
  for (const raw of [nobody, refused]) {
    assert.equal((await raw.closed()).code, 4009);
    assert.equal(raw.frames.at(-1).data.code, 4009);
  }
  for (const raw of [signed, inPrivate, inEncrypted, inPresence]) {
    await raw.settled();
    assert.equal(raw.close, undefined);
  }
});

test('row 43: the pages of an origin that is allowed may connect, others may not', async t => {
  const shop = await Shop.open(t, { rules: 'origins https://shop.example https://*.shop.example;' });
  await shop.rawConnected({ origin: 'https://shop.example' });
  await shop.rawConnected({ origin: 'https://eu.shop.example' });
  for (const origin of ['http://shop.example', 'https://shop.example.evil.example', 'https://evil-shop.example', 'null']) {
    const raw = shop.raw({ origin });
    assert.equal((await raw.closed()).code, 4009, origin);
  }
  const open = await Shop.open(t);
  await open.rawConnected({ origin: 'https://anything.example' });
});
