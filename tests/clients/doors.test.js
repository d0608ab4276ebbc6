// What only the server may say and read, by whatever door somebody comes in; and paths that lead to one app only.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { app } from './support/app.js';
import { send, signedQuery } from './support/rest.js';
import { events, eventually, listen, settled, Shop, subscribe } from './support/shop.js';

const server = `
  location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch app=${app.id} event=$arg_event; }
  location ~ ^/sub/(?<ch>.+)$ { realtime_subscribe $ch app=${app.id}; }
  location ~ ^/ws/(?<ch>.+)$ { realtime_pubsub $ch app=${app.id} event=$arg_event; }
  location ~ ^/plain/(?<ch>.+)$ { realtime_pubsub $ch; }
  location = /status { realtime_status watch publish; }`;

// The status of the answer to a handshake; 101 if it is one.
function handshake(shop, path) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${shop.port}${path}`);
    socket.on('open', () => {
      resolve(101);
      socket.terminate();
    });
    socket.on('unexpected-response', (request, response) => {
      resolve(response.statusCode);
      request.destroy();
    });
    socket.on('error', reject);
  });
}

async function status(shop, method, path, headers) {
  return (await send(shop, method, path, method === 'GET' ? '' : '"x"', headers)).status;
}

test('a user\'s channel is for nobody else to read or to write, but for who signs', async t => {
  const shop = await Shop.open(t, { server, rules: 'watchlist on; channels * { client_publish on; }' });
  const ann = await shop.connected({ user: 'ann' });
  const heard = [];
  ann.user.bind_global((event, data) => heard.push([event, data]));
  ann.signin();
  const watcher = await shop.rawConnected();
  await watcher.signedIn({ id: 'bob', watchlist: ['ann', 'cid'] });
  for (const name of ['#server-to-user-ann', '#server-to-user-cid', '#watch-ann', '#Server-To-User-ann', '#x', '#']) {
    const channel = encodeURIComponent(name);
    for (const [method, path, headers] of [
      ['POST', `/pub/${channel}`], ['PUT', `/pub/${channel}?event=hello`], ['POST', `/ws/${channel}`],
      ['POST', `/status?app=${app.id}&event=hello&publish=${channel}`],
      ['GET', `/sub/${channel}`], ['GET', `/ws/${channel}`], ['GET', `/sub/${channel}?since=earliest`],
      ['GET', `/sub/${channel}`, { Accept: 'text/event-stream' }],
      ['GET', `/status?app=${app.id}&watch=${channel}`],
    ]) {
      assert.equal(await status(shop, method, path, headers), 400, `${method} ${path}`);
    }
    assert.equal(await handshake(shop, `/sub/${channel}`), 400, name);
    assert.equal(await handshake(shop, `/ws/${channel}?event=hello`), 400, name);
    watcher.send({ event: 'realtime:publish', data: { ref: 1, channel: name, event: 'hello', data: 'x' } });
    assert.equal(JSON.parse((await watcher.next('realtime:error')).data).code, 400);
    watcher.send({ event: 'client-hello', channel: name, data: 'x' });
    await watcher.next('pusher:error');
  }
  // Nobody was there but who has signed in.
  const changes = watcher.frames.filter(({ event }) => event === 'pusher_internal:watchlist_events').map(({ data }) => JSON.parse(data).events);
  assert.equal(changes.flat().some(({ name, user_ids: ids }) => name === 'online' && ids.includes('cid')), false);
  await eventually(() => ann.user.signin_requested && ann.user.user_data, 'signed in');
  await shop.server.sendToUser('ann', 'mark', 1);
  await eventually(() => heard.length > 0, 'the server is heard');
  assert.deepEqual(heard.filter(([event]) => !event.startsWith('pusher:')), [['mark', 1]]);
  for (const channel of ['#watch-ann', '#x', '#server-to-user-']) {
    const answer = await shop.rest('POST', '/events', { body: { name: 'a', channel, data: '1' } });
    assert.equal(answer.status, 400, channel);
  }
});

test('events of the server are made by nobody else, by whatever door', async t => {
  const shop = await Shop.open(t, { server, rules: 'client_events on; channels presence-* { client_publish on; }' });
  const room = 'presence-room';
  const ann = await subscribe(await shop.connected({ user: 'ann' }), room);
  const raw = await shop.rawConnected();
  await raw.join(room, 'raw');
  await eventually(() => ann.members.count === 2, 'both are there');
  const before = events(ann).length;
  const forged = '{"user_id":"ann"}';
  for (const event of ['pusher_internal:member_removed', 'pusher:error', 'pusher:', 'realtime:gap', 'PUSHER:error',
    'Pusher_Internal:member_added']) {
    for (const path of [`/pub/${room}?event=${event}`, `/ws/${room}?event=${event}`,
      `/status?app=${app.id}&publish=${room}&event=${event}`]) {
      assert.equal((await send(shop, 'POST', path, forged)).status, 400, path);
    }
    assert.equal(await handshake(shop, `/ws/${room}?event=${event}`), 400, event);
    assert.equal((await send(shop, 'POST', `/plain/room?event=${event}`, forged)).status, 202, 'that one names no event');
  }
  for (const event of ['pusher_internal:member_removed', 'PUSHER:error', 'realtime:gap', 'pusher\u200b:error', '\u00adpusher:error',
    'pusher\uff1aerror']) {
    raw.send({ event: 'realtime:publish', data: { ref: 1, channel: room, event, data: forged } });
    assert.equal(JSON.parse((await raw.next('realtime:error')).data).code, 400, event);
    raw.send({ event, channel: room, data: forged });
    await raw.next('pusher:error');
    const one = { name: event, channel: room, data: forged };
    assert.equal((await shop.rest('POST', '/events', { body: one })).status, 400, event);
    assert.equal((await shop.rest('POST', '/events', { body: { name: event, channels: [room, 'other'], data: forged } })).status, 400);
    assert.equal((await shop.rest('POST', '/batch_events', { body: { batch: [{ ...one, name: 'good' }, one] } })).status, 400);
  }
  await settled(shop, ann);
  assert.equal(events(ann).length, before);
  assert.equal(ann.members.count, 2);
  raw.send({ event: 'realtime:publish', data: { ref: 1, channel: room, event: 'pushed:x', data: '1' } });
  await raw.next('realtime:ack');
  await eventually(() => events(ann).some(([event]) => event === 'pushed:x'), 'other names pass');
});

test('other prefixes are for the location\'s access directives to guard, and an app without a key has no reserved channels', async t => {
  const shop = await Shop.open(t, { server });
  const orders = await subscribe(await shop.connected({ user: 'ann' }), 'private-orders');
  assert.equal(await status(shop, 'POST', '/pub/private-orders?event=made'), 202);
  await eventually(() => events(orders).length === 1, 'the event');
  for (const path of ['/plain/%23general', '/plain/%23server-to-user-ann']) {
    assert.equal(await status(shop, 'POST', path), 202);
    assert.equal(await handshake(shop, path), 101);
  }
  // What is escaped twice is another name.
  assert.equal(await status(shop, 'POST', '/pub/%2523server-to-user-ann'), 202);
});

test('a raw subscriber is asked to leave when its app gets a key and its channel a meaning', async t => {
  const shop = await Shop.open(t, { server, http: 'realtime_drain 1s;' });
  const socket = new WebSocket(`ws://127.0.0.1:${shop.port}/plain/%23server-to-user-ann`);
  await new Promise(resolve => socket.once('open', resolve));
  const file = join(shop.nginx.directory, 'nginx.conf');
  writeFileSync(file, readFileSync(file, 'utf8').replace('server {', 'realtime_app default { key k2; secret s2; }\n  server {'));
  shop.nginx.reload();
  const code = await new Promise(resolve => socket.once('close', resolve));
  assert.equal(code, 1012);
  assert.equal(await handshake(shop, '/plain/%23server-to-user-ann'), 400);
});

const locations = `
  location /apps/other/ { realtime_pusher api; }
  location /users/ { realtime_pusher api; }
  location /mounted/apps/ { realtime_pusher api; }
  location /rt/ { realtime_pusher api; }
  location ~ ^/re/(a|b)/apps/ { realtime_pusher api; }
  location /old/ { rewrite ^/old(/.*)$ $1 break; realtime_pusher api; }
  location /mounted/app/ { realtime_pusher websocket; }
  location ~ ^/re/(a|b)/app/ { realtime_pusher websocket; }`;

test('an API request reaches the app that follows the location, and no other', async t => {
  const shop = await Shop.open(t, { server: locations, apps: 'realtime_app other { key other; secret unknown; }' });
  const answers = async (path, signedPath) =>
    (await send(shop, 'GET', `${path}?${signedQuery('GET', signedPath, '')}`)).status;
  for (const prefix of ['', '/mounted', '/rt', '/re/a', '/old']) {
    const path = `${prefix}/apps/${app.id}/channels`;
    assert.equal(await answers(path, path), 200, path);
    assert.equal(await answers(path, `/apps/${app.id}/channels`), 200, path);
    for (const [wrong, rest = `/apps/${app.id}/channels`] of [
      [`${prefix}/apps/other/apps/${app.id}/channels`], [`${prefix}/apps/apps/${app.id}/channels`],
      [`${prefix}/apps/other//apps/${app.id}/channels`], [`${prefix}/apps/other%2Fapps/${app.id}/channels`],
      [`${prefix}/apps/other/..%2F${app.id}/channels`], [`${prefix}/apps/other/../${app.id}/channels`],
      [`${prefix}/apps/./${app.id}/channels`], [`${prefix}/apps//${app.id}/channels`],
      [`${prefix}/apps/${app.id}/channels/`, `/apps/${app.id}/channels/`], [`${prefix}/apps/${app.id}//channels`],
      [`${prefix}/apps/x/y/apps/${app.id}/channels`],
    ]) {
      for (const signedPath of [rest, wrong, decodeURIComponent(wrong)]) {
        assert.equal(await answers(wrong, signedPath), 404, wrong);
      }
    }
  }
  for (const wrong of [`/users/x/apps/${app.id}/channels`, `/rt/x/apps/${app.id}/channels`, `/re/a/x/apps/y/apps/${app.id}/channels`,
    `/Apps/${app.id}/channels`, `/rt/Apps/${app.id}/channels`, `/rt/webapps/${app.id}/channels`]) {
    assert.equal(await answers(wrong, `/apps/${app.id}/channels`), 404, wrong);
  }
  // A user's id may look like anything.
  for (const id of ['a/b', 'apps/x', 'ann lee', 'apps']) {
    const path = `/apps/${app.id}/users/${encodeURIComponent(id)}/terminate_connections`;
    const query = signedQuery('POST', path, '{}');
    assert.equal((await send(shop, 'POST', `${path}?${query}`, '{}')).status, 200, id);
    const short = `/users/${encodeURIComponent(id)}/terminate_connections`;
    assert.equal((await send(shop, 'POST', `${short}?${signedQuery('POST', short, '{}')}`, '{}')).status, 200, id);
  }
});

test('a WebSocket\'s path is the location and the key', async t => {
  const shop = await Shop.open(t, { server: locations });
  for (const target of [`/app/${app.key}`, `/mounted/app/${app.key}`, `/re/b/app/${app.key}`]) {
    await shop.rawConnected({ target });
  }
  for (const target of [`/app/x/app/${app.key}`, `/app/app/${app.key}`, `/app//app/${app.key}`, `/app/x%2Fapp/${app.key}`,
    `/app/${app.key}/`, `/app/x/${app.key}`, `/mounted/app/x/app/${app.key}`, `/mounted/app/app/${app.key}`,
    `/re/a/app/x/app/${app.key}`, '/app/']) {
    const { code } = await shop.raw({ target }).closed();
    assert.equal(code, 4005, target);
  }
  listen(await subscribe(await shop.connected(), 'news'));
});
