// Client events: rows 34 to 37.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes, events, eventually, heard, listen, settled, Shop, subscribe } from './support/shop.js';

const on = { rules: 'client_events on;' };

async function two(shop, channel) {
  const all = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  for (const [i, raw] of all.entries()) {
    await (channel.startsWith('presence-') ? raw.join(channel, `u-${i}`) : raw.subscribe(channel));
  }
  if (channel.startsWith('presence-')) {
    await all[0].next('pusher_internal:member_added');
  }
  for (const raw of all) {
    await raw.settled();
  }
  return all;
}

// The sender gets exactly one soft error of that code, and the others hear nothing of it.
async function rejected(sender, frame, code) {
  sender.send(frame);
  const answers = await sender.settled();
  assert.equal(answers.length, 1, JSON.stringify(answers));
  const { event, channel, data } = answers[0];
  assert.deepEqual([event, data.code], ['pusher:error', code]);
  assert.ok(channel === undefined || channel === frame.channel);
  assert.ok(data.message.length > 0);
}

test('row 34: what one pusher-js triggers, all the others hear, on all workers', async t => {
  const shop = await Shop.open(t, on);
  const [one, other] = await shop.onEachWorker(() => shop.connected(), () => shop.connected());
  const third = await shop.connected();
  const channels = [];
  for (const client of [one, other, third]) {
    channels.push(await subscribe(client, 'private-chat'));
  }
  for (const data of [{ on: true, text: 'Zoë' }, 'text', '', 7, null, [1, 2]]) {
    channels[0].trigger('client-typing', data);
  }
  for (const channel of channels.slice(1)) {
    assert.deepEqual(await heard(channel, 'client-typing', 6), [{ on: true, text: 'Zoë' }, 'text', '', 7, null, [1, 2]]);
  }
  await settled(shop, ...channels);
  assert.deepEqual(events(channels[0]), [], 'not to the sender');
  assert.deepEqual(one.problems, []);
});

test('row 34: the relayed frame has the data as a string, and no key of the sender\'s own', async t => {
  const shop = await Shop.open(t, on);
  const [sender, receiver] = await two(shop, 'private-chat');
  const cases = [['{"a": 1.0}', '{"a": 1.0}'], ['"text \\u00eb"', 'text ë'], ['"{\\"a\\":1}"', '{"a":1}'], ['[ ]', '[ ]'],
    ['12345678901234567890', '12345678901234567890'], ['null', 'null'], [undefined, 'null']];
  for (const [sent, received] of cases) {
    sender.send(`{"event":"client-x","channel":"private-chat","user_id":"forged","socket_id":"1.1","id":"9-9"${
      sent === undefined ? '' : `,"data":${sent}`}}`);
    const { text, ...frame } = await receiver.next('client-x');
    assert.notEqual(frame.id, '9-9');
    delete frame.id;
    assert.deepEqual(frame, { event: 'client-x', channel: 'private-chat', data: received });
  }
});

test('row 34: only who is subscribed may send, only while it is on', async t => {
  const shop = await Shop.open(t, on);
  const [one] = await two(shop, 'private-chat');
  const stranger = await shop.rawConnected();
  await stranger.settled();
  await rejected(stranger, { event: 'client-x', channel: 'private-chat', data: 1 }, null);
  await rejected(one, { event: 'client-x', channel: 'private-other', data: 1 }, null);
  await rejected(one, { event: 'client-x', data: 1 }, null);
  assert.deepEqual(await one.settled(), []);

  const off = await Shop.open(t);
  const [sender, receiver] = await two(off, 'private-chat');
  sender.send({ event: 'client-x', channel: 'private-chat', data: 1 });
  const [{ event }] = await sender.settled();
  assert.equal(event, 'pusher:error');
  await off.server.trigger('private-chat', 'mark', 1);
  await receiver.next('mark');
  assert.ok(!receiver.frames.some(frame => frame.event === 'client-x'));
});

test('row 34: the names and sizes of client events', async t => {
  const shop = await Shop.open(t, on);
  const [sender, receiver] = await two(shop, 'private-chat');
  for (const event of ['typing', 'Client-x', 'xclient-y', 'client_x', 'pusher:client-x', 'pusher_internal:member_added', '']) {
    await rejected(sender, { event, channel: 'private-chat', data: 1 }, null);
  }
  await rejected(sender, { event: `client-${'n'.repeat(194)}`, channel: 'private-chat', data: 1 }, null);
  const long = `client-${'n'.repeat(193)}`;
  sender.send({ event: long, channel: 'private-chat', data: 1 });
  await receiver.next(long);
  sender.send({ event: 'client-x', channel: 'private-chat', data: 'x'.repeat(10241) });
  assert.equal((await sender.settled())[0].event, 'pusher:error');
  sender.send({ event: 'client-x', channel: 'private-chat', data: 'x'.repeat(10240) });
  assert.equal((await receiver.next('client-x')).data.length, 10240);
  assert.deepEqual(receiver.frames.filter(frame => /typing|xclient|client_x|Client/.test(frame.event)), []);
});

test('row 35: not on public, encrypted and server-to-user channels', async t => {
  const shop = await Shop.open(t, on);
  const sender = await shop.rawConnected();
  await sender.signedIn({ id: 'u-1' });
  for (const channel of ['news', 'cache-news', 'private-encrypted-a', 'private-encrypted-cache-a', '#server-to-user-u-1']) {
    await sender.subscribe(channel);
    await sender.settled();
    await rejected(sender, { event: 'client-x', channel, data: 1 }, null);
  }
  const client = await shop.connected();
  const news = await subscribe(client, 'news');
  news.trigger('client-x', 1);
  await eventually(() => client.problems.length === 1, 'pusher-js is told');
  assert.equal(client.connection.state, 'connected');
});

test('row 36: on a presence channel the sender\'s user_id is told, as the server knows it', async t => {
  const shop = await Shop.open(t, on);
  const [sender, receiver] = await two(shop, 'presence-room');
  sender.send({ event: 'client-x', channel: 'presence-room', data: 1, user_id: 'forged' });
  const { text, id, ...frame } = await receiver.next('client-x');
  assert.deepEqual(frame, { event: 'client-x', channel: 'presence-room', data: '1', user_id: 'u-0' });

  const client = await shop.connected({ user: '42' });
  const room = listen(await subscribe(client, 'presence-room'));
  const metadata = [];
  room.bind('client-y', (data, meta) => metadata.push(meta));
  sender.send({ event: 'client-y', channel: 'presence-room', data: 1 });
  await heard(room, 'client-y');
  assert.deepEqual(metadata, [{ user_id: 'u-0' }]);
});

test('row 36: another tab of the same user hears it', async t => {
  const shop = await Shop.open(t, on);
  const tabs = [await shop.connected({ user: 'u-1' }), await shop.connected({ user: 'u-1' })];
  const rooms = [await subscribe(tabs[0], 'presence-room'), await subscribe(tabs[1], 'presence-room')];
  rooms[0].trigger('client-x', 1);
  assert.deepEqual(await heard(rooms[1], 'client-x'), [1]);
  await settled(shop, ...rooms);
  assert.deepEqual(events(rooms[0]), []);
});

test('row 37: more than ten a second are dropped with 4301, and the connection is kept', async t => {
  const shop = await Shop.open(t, on);
  const [sender, receiver] = await two(shop, 'private-chat');
  for (let i = 0; i < 100; ++i) {
    sender.send({ event: 'client-x', channel: 'private-chat', data: i });
  }
  const errors = await sender.settled();
  assert.ok(errors.length >= 75 && errors.length <= 90, `${errors.length} errors`);
  for (const { event, channel, data } of errors) {
    assert.deepEqual([event, channel, data.code], ['pusher:error', 'private-chat', 4301]);
  }
  const relayed = () => receiver.frames.filter(frame => frame.event === 'client-x').map(frame => Number(frame.data));
  await eventually(() => relayed().length === 100 - errors.length, () => `the rest is relayed: ${relayed()}`);
  assert.deepEqual(relayed().slice(0, 10), Array.from({ length: 10 }, (_, i) => i));
  // Another sender has a rate of its own, and the first one gets its place back.
  receiver.send({ event: 'client-y', channel: 'private-chat', data: 1 });
  await sender.next('client-y');
  await eventually(async () => {
    sender.send({ event: 'client-later', channel: 'private-chat', data: 1 });
    return (await sender.settled()).length === 0;
  }, 'it may send again');
  await receiver.next('client-later');
});

test('row 37: pusher-js hears of the limit, on its connection and on the channel', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on rate=2r/s;' });
  const client = await shop.connected();
  const chat = await subscribe(client, 'private-chat');
  for (let i = 0; i < 10; ++i) {
    chat.trigger('client-x', i);
  }
  const [error] = await heard(chat, 'pusher:error');
  assert.equal(error.code, 4301);
  assert.ok(client.problems.length > 0);
  assert.equal(errorCodes(client)[0], 4301);
  assert.equal(client.connection.state, 'connected');
});
