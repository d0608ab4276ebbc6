// Presence: rows 24 to 27.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { events, eventually, heard, settled, Shop, subscribe } from './support/shop.js';

const room = 'presence-room-7';

function members(channel) {
  const all = {};
  channel.members.each(({ id, info }) => { all[id] = info; });
  return all;
}

const presence = frame => JSON.parse(frame.data).presence;
const user = (id, info) => JSON.stringify({ user_id: id, user_info: info });

async function usersOf(shop, channel = room) {
  return (await shop.rest('GET', `/channels/${channel}/users`)).json.users.map(({ id }) => id).sort();
}

test('rows 24, 25: members on both workers see one another come and go', async t => {
  const shop = await Shop.open(t);
  const [ada, lin] = await shop.onEachWorker(() => shop.connected({ user: 'u-17', name: 'Ada' }),
    () => shop.connected({ user: 'u-18', name: 'Lin' }));
  const first = await subscribe(ada, room);
  assert.deepEqual(members(first), { 'u-17': { name: 'Ada' } });
  const second = await subscribe(lin, room);
  assert.deepEqual(members(second), { 'u-17': { name: 'Ada' }, 'u-18': { name: 'Lin' } });
  assert.equal(second.members.count, 2);
  assert.deepEqual(second.members.me, { id: 'u-18', info: { name: 'Lin' } });
  assert.deepEqual(await heard(first, 'pusher:member_added'), [{ id: 'u-18', info: { name: 'Lin' } }]);
  lin.unsubscribe(room);
  assert.deepEqual(await heard(first, 'pusher:member_removed'), [{ id: 'u-18', info: { name: 'Lin' } }]);
  const again = await subscribe(lin, room);
  await heard(first, 'pusher:member_added', 2);
  lin.disconnect();
  await heard(first, 'pusher:member_removed', 2);
  await settled(shop, first);
  assert.deepEqual(events(first).map(([event]) => event), ['pusher:member_added', 'pusher:member_removed',
    'pusher:member_added', 'pusher:member_removed']);
  assert.deepEqual(events(again).map(([event]) => event), []);
  assert.deepEqual(members(first), { 'u-17': { name: 'Ada' } });
});

test('row 24: the snapshot: ids are strings, the hash has an entry for every id', async t => {
  const shop = await Shop.open(t);
  const all = await Promise.all(Array.from({ length: 6 }, () => shop.rawConnected()));
  assert.deepEqual(presence(await all[0].subscribe(room, '{"user_id":"plain"}')),
    { count: 1, ids: ['plain'], hash: { plain: {} } });
  // A number is taken by its text, however large.
  await all[1].subscribe(room, '{"user_id":12345678901234567890, "user_info": true}');
  await all[2].subscribe(room, '{"user_info":{"a":[1,{"b":null}]},"user_id":"ü \\" \\u0041"}');
  await all[3].subscribe(room, '{"user_id":"__proto__","user_info":"text"}');
  await all[4].subscribe(room, '{"user_id":7,"user_info":0}');
  const { count, ids, hash } = presence(await all[5].subscribe(room, '{"user_id":"7"}'));
  assert.equal(count, 5);
  assert.deepEqual(ids.sort(), ['12345678901234567890', '7', '__proto__', 'plain', 'ü " A']);
  assert.deepEqual(Object.entries(hash).sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, info]) => [id, info]),
    [['12345678901234567890', true], ['7', 0], ['__proto__', 'text'], ['plain', {}], ['ü " A', { a: [1, { b: null }] }]]);
});

test('row 25: the frames of coming and going', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.join(room, 'u-1');
  await raw.settled();
  const other = await shop.rawConnected();
  await other.subscribe(room, '{"user_id": 19,  "user_info": {"name":"S\\u00e4m"}}');
  const { text: one, ...added } = await raw.next('pusher_internal:member_added');
  assert.deepEqual({ ...added, data: JSON.parse(added.data) }, { event: 'pusher_internal:member_added', channel: room,
    data: { user_id: '19', user_info: { name: 'Säm' } } });
  other.disconnect();
  const { text: two, ...removed } = await raw.next('pusher_internal:member_removed');
  assert.deepEqual(removed, { event: 'pusher_internal:member_removed', channel: room, data: '{"user_id":"19"}' });
});

test('row 25: two tabs of one user, on two workers, are one member', async t => {
  const shop = await Shop.open(t);
  const [tab, otherTab] = await shop.onEachWorker(() => shop.connected({ user: 'u-1', name: 'Ada' }),
    () => shop.connected({ user: 'u-1', name: 'Ada again' }));
  const watcher = await subscribe(await shop.connected({ user: 'w' }), room);
  await subscribe(tab, room);
  await heard(watcher, 'pusher:member_added');
  const second = await subscribe(otherTab, room);
  assert.deepEqual(members(second), { w: {}, 'u-1': { name: 'Ada' } }, 'the first connection\'s user_info stays');
  assert.deepEqual(await usersOf(shop), ['u-1', 'w']);
  tab.disconnect();
  await eventually(async () => (await shop.rest('GET', `/channels/${room}`,
    { parameters: { info: 'user_count,subscription_count' } })).json.subscription_count === 2, 'the tab is gone');
  await settled(shop, watcher, second);
  assert.deepEqual(events(watcher), [['pusher:member_added', { id: 'u-1', info: { name: 'Ada' } }]]);
  assert.deepEqual(events(second), []);
  otherTab.disconnect();
  await heard(watcher, 'pusher:member_removed');
  await settled(shop, watcher);
  assert.equal(events(watcher).length, 2);
});

test('row 25: a page that reconnects before it leaves is not seen to leave', async t => {
  const shop = await Shop.open(t);
  const watcher = await subscribe(await shop.connected({ user: 'w' }), room);
  let old = await shop.connected({ user: 'u-1' });
  await subscribe(old, room);
  for (let i = 0; i < 4; ++i) {
    const fresh = await shop.connected({ user: 'u-1' });
    await subscribe(fresh, room);
    old.disconnect();
    old = fresh;
  }
  await settled(shop, watcher);
  assert.deepEqual(events(watcher).map(([event]) => event), ['pusher:member_added']);
});

test('row 25: who is subscribed but not the joiner hears of it, the joiner hears nothing before its snapshot', async t => {
  const shop = await Shop.open(t);
  const all = await Promise.all(Array.from({ length: 12 }, () => shop.rawConnected()));
  await Promise.all(all.map((raw, i) => raw.join(room, `u-${i}`)));
  const wanted = all.map((_, i) => `u-${i}`).sort();
  for (const [i, raw] of all.entries()) {
    const seen = () => {
      const own = raw.frames.filter(frame => frame.channel === room);
      assert.equal(own[0].event, 'pusher_internal:subscription_succeeded');
      return [...presence(own[0]).ids, ...own.slice(1).map(frame => JSON.parse(frame.data).user_id)].sort();
    };
    await eventually(() => seen().length >= wanted.length, () => `u-${i} sees all: ${seen()}`);
    assert.deepEqual(seen(), wanted, 'each member once, in the snapshot or as an event');
  }
});

test('row 25: the members of a worker that was killed are gone within two seconds', async t => {
  const shop = await Shop.open(t);
  shop.killed = true;
  const [survivor, victim] = await shop.onEachWorker(() => shop.connected({ user: 'survivor' }),
    () => shop.rawConnected());
  const watcher = await subscribe(survivor, room);
  await victim.join(room, 'victim');
  await victim.subscribe('only-there');
  await heard(watcher, 'pusher:member_added');
  const pid = shop.nginx.workers()[1];
  const killed = Date.now();
  process.kill(pid, 'SIGKILL');
  assert.deepEqual(await heard(watcher, 'pusher:member_removed'), [{ id: 'victim', info: {} }]);
  assert.ok(Date.now() - killed < 2500, `it took ${Date.now() - killed} ms`);
  await eventually(async () => (await shop.rest('GET', '/channels/only-there')).json.occupied === false, 'not occupied');
  assert.deepEqual(await usersOf(shop), ['survivor']);
  // The successor serves, and nothing is counted twice.
  const again = await shop.rawConnected();
  assert.deepEqual(presence(await again.join(room, 'victim')).ids.sort(), ['survivor', 'victim']);
});

test('row 25: after both workers were killed, pusher-js is back and the members are right', async t => {
  const shop = await Shop.open(t);
  shop.killed = true;
  const [ada, lin] = await shop.onEachWorker(() => shop.connected({ user: 'u-1' }), () => shop.connected({ user: 'u-2' }));
  const channels = [await subscribe(ada, room), await subscribe(lin, room)];
  const before = [ada, lin].map(client => client.connection.socket_id);
  for (const pid of shop.nginx.workers()) {
    await shop.nginx.killWorker(pid);
  }
  await eventually(() => [ada, lin].every((client, i) => client.connection.state === 'connected' &&
    client.connection.socket_id !== before[i]), 'both are back');
  await eventually(() => channels.every(channel => channel.subscribed && channel.members.count === 2),
    () => `two members; ${channels.map(channel => JSON.stringify(members(channel)))}`);
  assert.deepEqual(await usersOf(shop), ['u-1', 'u-2']);
});

test('row 26: the identity of the sign-in is the member', async t => {
  const shop = await Shop.open(t);
  const watcher = await subscribe(await shop.connected({ user: 'w' }), room);
  const client = await shop.connected({ user: 'u-17', name: 'Ada', mute: 'channel data' });
  client.signin();
  const channel = await subscribe(client, room);
  assert.deepEqual(channel.members.me, { id: 'u-17', info: { name: 'Ada' } });
  assert.deepEqual(await heard(watcher, 'pusher:member_added'), [{ id: 'u-17', info: { name: 'Ada' } }]);
});

test('row 26: channel_data goes before the sign-in, and without either there is no member', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  raw.send({ event: 'pusher:subscribe', data: { channel: room, auth: raw.authorization(room).auth } });
  const [{ data, ...error }] = await raw.settled();
  assert.deepEqual(error, { event: 'pusher:subscription_error', channel: room });
  assert.equal(JSON.parse(data).type, 'AuthError');
  await raw.signedIn({ id: 'signed-in', user_info: { name: 'S' } });
  assert.deepEqual(presence(await raw.subscribe(room, user('other', { name: 'O' }))).hash, { other: { name: 'O' } });
  assert.deepEqual(presence(await raw.subscribe('presence-two')).hash, { 'signed-in': { name: 'S' } });
});

test('row 27: at most 100 members, but a present user\'s next tab is always let in', async t => {
  const shop = await Shop.open(t);
  const all = await Promise.all(Array.from({ length: 102 }, () => shop.rawConnected()));
  await Promise.all(all.slice(0, 100).map((raw, i) => raw.join(room, `u-${i}`)));
  const late = all[100];
  late.requestChannel(room, user('u-100'));
  const error = JSON.parse((await late.next('pusher:subscription_error')).data);
  assert.deepEqual([error.type, error.status], ['LimitReached', 4100]);
  assert.equal(presence(await all[101].join(room, 'u-5')).count, 100);
  all[0].disconnect();
  await all[1].next(frame => frame.event === 'pusher_internal:member_removed');
  assert.equal(presence(await late.join(room, 'u-100')).count, 100);
});

test('row 27: the limits of a member\'s data, and data of other shapes', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  const info = length => ({ x: 'x'.repeat(length) });
  const cases = [
    [user('u'.repeat(129)), 'LimitReached'], [user('u', info(1100)), 'LimitReached'],
    ['', 'AuthError'], ['{}', 'AuthError'], ['null', 'AuthError'], ['[]', 'AuthError'], ['"u"', 'AuthError'],
    ['{"user_id":null}', 'AuthError'], ['{"user_id":{}}', 'AuthError'], ['{"user_id":true}', 'AuthError'],
    ['{"user_id":""}', 'AuthError'], ['{"user_id":"u"', 'AuthError'],
  ];
  for (const [data] of cases) {
    raw.requestChannel(room, data);
    const frames = await raw.settled();
    assert.deepEqual(frames.map(({ event, channel }) => [event, channel]), [['pusher:subscription_error', room]], data);
  }
  for (const [data, type] of cases.slice(0, 2)) {
    raw.requestChannel(room, data);
    assert.equal(JSON.parse((await raw.settled())[0].data).type, type);
  }
  await raw.subscribe(room, user('u'.repeat(128), info(1000)));
});

test('row 24: twenty pusher-js clients over two workers agree', async t => {
  const shop = await Shop.open(t);
  const clients = await Promise.all(Array.from({ length: 20 }, (_, i) => shop.connected({ user: `u-${i % 10}` })));
  const channels = await Promise.all(clients.map(client => subscribe(client, room)));
  await eventually(() => channels.every(channel => channel.members.count === 10), 'ten members');
  clients.slice(10).forEach(client => client.disconnect());
  await settled(shop, channels[0]);
  assert.deepEqual(channels[0].members.count, 10);
  clients.slice(5, 10).forEach(client => client.disconnect());
  await eventually(() => channels[0].members.count === 5, 'five remain');
  assert.deepEqual(await usersOf(shop), ['u-0', 'u-1', 'u-2', 'u-3', 'u-4']);
});
