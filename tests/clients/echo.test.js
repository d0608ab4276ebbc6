// Laravel Echo with the broadcaster `pusher`, on top of pusher-js: rows 16, 18, 21, 24, 25, 28, 34 and 45 once more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Echo from 'laravel-echo';
import PusherClient from 'pusher-js';
import { app, eventually, online, Shop } from './support/shop.js';

async function open(shop, { user, name } = {}) {
  const params = { user, name };
  const echo = new Echo({ broadcaster: 'pusher', key: app.key, Pusher: PusherClient, ...shop.clientOptions(),
    channelAuthorization: { endpoint: `${shop.url}/broadcasting/auth`, transport: 'ajax', params },
    userAuthentication: { endpoint: `${shop.url}/broadcasting/user-auth`, transport: 'ajax', params } });
  shop.clients.push(echo);
  await online(echo.connector.pusher);
  return echo;
}

const ready = channel => eventually(() => channel.subscription.subscribed, `${channel.name} is subscribed`);

test('rows 16, 21: public and private channels hear Laravel\'s events', async t => {
  const shop = await Shop.open(t);
  const echo = await open(shop);
  const heard = [];
  await ready(echo.channel('orders').listen('OrderShipped', data => heard.push(['public', data])));
  await ready(echo.private('orders.42').listen('OrderShipped', data => heard.push(['private', data]))
    .listen('.named', data => heard.push(['named', data])).listenToAll(event => heard.push(['all', event])));
  await shop.server.trigger(['orders', 'private-orders.42'], 'App\\Events\\OrderShipped', { id: 42 });
  await shop.server.trigger('private-orders.42', 'named', { id: 43 });
  await eventually(() => heard.length >= 5, () => JSON.stringify(heard));
  assert.deepEqual(heard.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)), [['all', '.named'], ['all', 'OrderShipped'],
    ['named', { id: 43 }], ['private', { id: 42 }], ['public', { id: 42 }]]);
  echo.leave('orders');
  await eventually(async () => !(await shop.rest('GET', '/channels/orders')).json.occupied, 'it has left');
});

test('row 18: error() hears of a refusal by the server', async t => {
  const shop = await Shop.open(t);
  const echo = await open(shop);
  const errors = [];
  echo.private('forged').error(error => errors.push(error));
  await eventually(() => errors.length === 1, 'the error');
  assert.equal(errors[0].type, 'AuthError');
  assert.equal(errors[0].status, 401);
});

test('rows 24, 25, 34: here, joining, leaving and whisper', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const [ada, lin] = await shop.onEachWorker(() => open(shop, { user: 'u-17', name: 'Ada' }),
    () => open(shop, { user: 'u-18', name: 'Lin' }));
  const log = [];
  const room = ada.join('room').here(users => log.push(['here', users])).joining(user => log.push(['joining', user]))
    .leaving(user => log.push(['leaving', user])).listenForWhisper('typing', (data, who) => log.push(['whisper', data, who?.user_id]));
  await eventually(() => log.length === 1, 'here');
  const other = lin.join('room');
  await ready(other);
  await eventually(() => log.length === 2, 'joining');
  other.whisper('typing', { on: true });
  await eventually(() => log.length === 3, 'whisper');
  lin.leave('room');
  await eventually(() => log.length === 4, 'leaving');
  const [whisper, data] = log[2];
  assert.deepEqual([whisper, data], ['whisper', { on: true }]);
  assert.deepEqual([log[0], log[1], log[3]], [['here', [{ name: 'Ada' }]], ['joining', { name: 'Lin' }], ['leaving', { name: 'Lin' }]]);
  assert.ok(room.subscription.subscribed);
});

test('row 28: an encrypted private channel', async t => {
  const shop = await Shop.open(t);
  const echo = await open(shop);
  const heard = [];
  await ready(echo.encryptedPrivate('orders').listen('.shipped', data => heard.push(data)));
  await shop.server.trigger('private-encrypted-orders', 'shipped', { id: 42 });
  await eventually(() => heard.length === 1, 'decrypted');
  assert.deepEqual(heard, [{ id: 42 }]);
});

test('row 45: toOthers(): the socket id that Echo tells is not sent its own event', async t => {
  const shop = await Shop.open(t);
  const echos = await shop.onEachWorker(() => open(shop), () => open(shop));
  const heard = [[], []];
  for (const [i, echo] of echos.entries()) {
    await ready(echo.channel('orders').listen('.x', data => heard[i].push(data)));
  }
  await shop.server.trigger('orders', 'x', 'to the other', { socket_id: echos[0].socketId() });
  await shop.server.trigger('orders', 'x', 'to all');
  await eventually(() => heard.every(list => list.includes('to all')), 'both hear');
  assert.deepEqual(heard, [['to all'], ['to the other', 'to all']]);
});
