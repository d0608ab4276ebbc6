// What one client can make of a connection: how fast it subscribes, publishes and asks for history, and how much others hear
// of one who comes and goes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { app } from './support/app.js';
import { events, eventually, heard, settled, Shop, subscribe } from './support/shop.js';

const figures = async shop => (await fetch(`${shop.url}/realtime/?format=json`)).json();

// No test of these takes minutes: what a rate such as 1r/m lets through is its burst.
const refusals = (shop, what) => shop.nginx.errorLog().split(`realtime: ${what} refused: client is too fast`).length - 1;

async function moved(shop) {
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
}

test('who subscribes faster than realtime_subscribe_rate is told so, also after a reload', async t => {
  const shop = await Shop.open(t, { http: 'realtime_subscribe_rate 1r/m burst=10;' });
  const raw = await shop.rawConnected();
  for (let i = 0; i < 8; ++i) {
    await raw.subscribe(`news-${i}`);
  }
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'news-0' } });
  await raw.subscribe('presence-room', '{"user_id":"u"}');
  const refused = async (socket, channel) => {
    socket.requestChannel(channel);
    const { data } = await socket.next(frame => frame.event === 'pusher:subscription_error' && frame.channel === channel);
    assert.deepEqual([JSON.parse(data).type, JSON.parse(data).status], ['LimitReached', 4301]);
  };
  await refused(raw, 'news-8');
  raw.signIn({ id: 'u' });
  assert.equal((await raw.next('pusher:error')).data.code, 4301);
  // What it has goes on, and it can go.
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'news-1' } });
  await raw.settled();
  await shop.server.trigger(['news-1', 'news-2'], 'n', 1);
  await raw.next('n');
  assert.deepEqual(raw.frames.filter(({ event }) => event === 'n').map(({ channel }) => channel), ['news-2']);
  assert.equal((await figures(shop)).rate_limited_total, 2);
  assert.equal(refusals(shop, 'subscription'), 1);
  assert.equal(refusals(shop, 'sign-in'), 1);
  await moved(shop);
  await refused(raw, 'news-9');
  // Others are not concerned.
  const other = await subscribe(await shop.connected(), 'news-2');
  await settled(shop, other);
  assert.equal((await figures(shop)).rate_limited_total, 3);
});

test('by default a thousand subscriptions go at one time, and the client that wants more goes on', async t => {
  const shop = await Shop.open(t, { rules: 'max_channels 5000;' });
  const raw = await shop.rawConnected();
  for (let i = 0; i < 3000; ++i) {
    raw.requestChannel(`c-${i}`);
  }
  const all = await raw.settled();
  const succeeded = all.filter(({ event }) => event === 'pusher_internal:subscription_succeeded').length;
  assert.ok(succeeded >= 1000 && succeeded < 3000, `${succeeded}`);
  assert.equal(all.filter(({ event }) => event === 'pusher:subscription_error').length, 3000 - succeeded);
  await shop.server.trigger('c-0', 'n', 1);
  await raw.next('n');
  await eventually(async () => {
    raw.requestChannel('later');
    const frame = await raw.next(({ event, channel }) => channel === 'later' && event !== 'pusher_internal:subscription_error');
    return frame.event === 'pusher_internal:subscription_succeeded';
  }, 'there is room again after a while');
});

test('who subscribes to what has long answers may do so less often', async t => {
  const shop = await Shop.open(t, { http: 'realtime_subscribe_rate 1r/m burst=10;',
    server: `location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch app=${app.id} event=n; }` });
  assert.equal((await fetch(`${shop.url}/pub/cache-large`, { method: 'POST', body: 'x'.repeat(60000) })).status, 202);
  const raw = await shop.rawConnected();
  for (let i = 0; i < 5; ++i) {
    raw.send({ event: 'pusher:subscribe', data: { channel: 'cache-large' } });
    raw.send({ event: 'pusher:unsubscribe', data: { channel: 'cache-large' } });
  }
  await raw.settled();
  assert.deepEqual(['pusher_internal:subscription_succeeded', 'n', 'pusher:subscription_error']
    .map(wanted => raw.frames.filter(({ event }) => event === wanted).length), [2, 2, 3]);
});

test('who publishes faster than realtime_publish_rate is told so, or closed, also after a reload', async t => {
  const shop = await Shop.open(t, { http: 'realtime_publish_rate 1r/m burst=5; realtime_deflate on; realtime_max_message_size 256k;',
    rules: 'channels * { client_publish on; }',
    server: `location ~ ^/ws/(?<ch>.+)$ { realtime_pubsub $ch app=${app.id} echo=off; }` });
  const witness = await subscribe(await shop.connected(), 'news');
  const raw = await shop.rawConnected();
  const publish = async (ref, data = 'x') => {
    raw.send({ event: 'realtime:publish', data: { ref, channel: 'news', event: 'n', data } });
    const answer = await raw.next(frame => ['realtime:ack', 'realtime:error'].includes(frame.event) && JSON.parse(frame.data).ref === ref);
    return JSON.parse(answer.data).code ?? 200;
  };
  for (let ref = 0; ref < 5; ++ref) {
    assert.equal(await publish(ref), 200);
  }
  assert.equal(await publish(5), 429);
  await moved(shop);
  assert.equal(await publish(6), 429);
  assert.equal((await figures(shop)).rate_limited_total, 2);
  // Several kilobytes count for more than one, as they are when they are decompressed.
  const socket = new WebSocket(`ws://127.0.0.1:${shop.port}/ws/news`, { perMessageDeflate: { threshold: 0 } });
  const closed = new Promise(resolve => socket.once('close', resolve));
  await new Promise(resolve => socket.once('open', resolve));
  for (let i = 0; i < 4; ++i) {
    socket.send('0'.repeat(60000));
  }
  assert.equal(await closed, 1008);
  const small = new WebSocket(`ws://127.0.0.1:${shop.port}/ws/news`);
  const ended = new Promise(resolve => small.once('close', resolve));
  await new Promise(resolve => small.once('open', resolve));
  for (let i = 0; i < 6; ++i) {
    small.send('1');
  }
  assert.equal(await ended, 1008);
  await settled(shop, witness);
  const sizes = events(witness).map(([, data]) => String(data).length);
  assert.deepEqual(sizes, [1, 1, 1, 1, 1, 60000, 60000, 1, 1, 1, 1, 1]);
});

test('history comes at realtime_history_rate, whole and in order, with what is live behind it', async t => {
  const rate = 256 * 1024;
  const shop = await Shop.open(t, { http: `realtime_history_rate ${rate}; realtime_subscribe_rate off;`,
    server: `location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch app=${app.id} event=n; }` });
  const count = 100;
  const publish = async i => assert.equal((await fetch(`${shop.url}/pub/news`, { method: 'POST',
    body: JSON.stringify({ i, text: 'x'.repeat(10000) }) })).status, 202);
  const raw = await shop.rawConnected();
  await raw.subscribe('keeps-it'); // on its worker
  for (let i = 0; i < count; ++i) {
    await publish(i);
  }
  const began = Date.now();
  raw.send({ event: 'pusher:subscribe', data: { channel: 'news', since: 'earliest' } });
  assert.equal(JSON.parse((await raw.next('pusher_internal:subscription_succeeded')).data).recovered, true);
  await publish(count);
  await eventually(() => raw.frames.filter(({ event }) => event === 'n').length > count, 'all', 60000);
  assert.deepEqual(raw.frames.filter(({ event }) => event === 'n').map(({ data }) => JSON.parse(data).i), [...Array(count + 1).keys()]);
  const took = Date.now() - began;
  const least = (count * 10000 - rate - 64 * 1024) / rate * 1000; // a second's worth comes at once
  assert.ok(took > least * 0.95, `${took} ms, not ${least}`);
  // The same again on this connection waits for what it had before; another connection has its own.
  const again = Date.now();
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'news' } });
  raw.send({ event: 'pusher:subscribe', data: { channel: 'news', since: 'earliest' } });
  const fresh = await shop.rawConnected();
  fresh.send({ event: 'pusher:subscribe', data: { channel: 'news', since: 'earliest' } });
  await fresh.next('n');
  await eventually(() => raw.frames.filter(({ event }) => event === 'n').length > 2 * count, 'all again', 60000);
  assert.ok(Date.now() - again > least, `${Date.now() - again} ms`);
});

const room = 'presence-room';

test('a member that flaps is told of twice a second at most, and how it stands in the end', async t => {
  const shop = await Shop.open(t, { http: 'realtime_subscribe_rate off;' });
  const watchers = await shop.onEachWorker(() => shop.connected({ user: 'w-0' }), () => shop.connected({ user: 'w-1' }));
  const channels = [await subscribe(watchers[0], room), await subscribe(watchers[1], room)];
  await eventually(() => channels.every(channel => channel.members.count === 2), 'both watch');
  const raw = await shop.rawConnected();
  await raw.settled();
  const data = '{"user_id":"flap","user_info":{"x":1}}';
  const subscribeFrame = { event: 'pusher:subscribe', data: { channel: room, ...raw.authorization(room, data) } };
  const began = Date.now();
  for (let i = 0; i < 1000; ++i) {
    raw.send(subscribeFrame);
    raw.send({ event: 'pusher:unsubscribe', data: { channel: room } });
  }
  await raw.settled();
  const answers = raw.frames.filter(({ event }) => event === 'pusher_internal:subscription_succeeded');
  assert.equal(answers.length, 1000);
  answers.forEach(({ data: text }) => assert.deepEqual(JSON.parse(text).presence.ids.sort(), ['flap', 'w-0', 'w-1']));
  const most = Math.ceil((Date.now() - began) / 1000) + 1;
  await eventually(() => channels.every(channel => channel.members.count === 2), 'it is gone in the end');
  await settled(shop, ...channels);
  for (const channel of channels) {
    const told = events(channel).filter(([, member]) => member.id === 'flap').map(([event]) => event);
    assert.ok(told.length >= 2 && told.length <= 2 * most, `${told.length} of ${2 * most}`);
    told.forEach((event, i) => assert.equal(event, i % 2 === 0 ? 'pusher:member_added' : 'pusher:member_removed'));
  }
  // Another time it stays.
  await raw.subscribe(room, '{"user_id":"flap","user_info":{"x":2}}');
  await eventually(() => channels.every(channel => channel.members.get('flap')?.info.x === 2), 'it is there');
});

test('what all have seen of a room adds up, however its members come and go', async t => {
  const shop = await Shop.open(t, { http: 'realtime_subscribe_rate off;' });
  const all = [];
  for (let i = 0; i < 12; ++i) {
    const raw = await shop.rawConnected();
    await raw.settled();
    raw.user = `u-${i % 8}`;
    raw.view = null;
    raw.asked = 0;
    const see = ({ event, channel, data }) => {
      if (channel !== room) {
        return;
      }
      if (event === 'pusher_internal:subscription_succeeded') {
        raw.answered = (raw.answered ?? 0) + 1;
        if (raw.answered === raw.asked && raw.subscribed) {
          raw.view = new Set(JSON.parse(data).presence.ids);
          assert.ok(raw.view.has(raw.user));
        }
      } else if (raw.view) {
        const { user_id: user } = JSON.parse(data);
        assert.notEqual(user, raw.user, 'nobody is told of itself');
        assert.equal(raw.view.has(user), event.endsWith('removed'), `${event} of ${user} at ${raw.user}`);
        event.endsWith('removed') ? raw.view.delete(user) : raw.view.add(user);
      }
    };
    raw.socket.on('message', text => {
      try {
        see(JSON.parse(text));
      } catch (error) {
        raw.fault ??= error;
      }
    });
    all.push(raw);
  }
  let random = 4711;
  const below = n => (random = (random * 48271) % 2147483647) % n;
  for (let step = 0; step < 3000; ++step) {
    const raw = all[below(all.length)];
    if (raw.subscribed) {
      raw.subscribed = false;
      raw.view = null;
      raw.send({ event: 'pusher:unsubscribe', data: { channel: room } });
    } else {
      raw.subscribed = true;
      raw.asked++;
      const info = JSON.stringify({ user_id: raw.user, user_info: { n: below(3) } });
      raw.send({ event: 'pusher:subscribe', data: { channel: room, ...raw.authorization(room, info) } });
    }
    if (step % 20 === 0) {
      await new Promise(resolve => setImmediate(resolve));
    }
  }
  const truth = async () => (await shop.rest('GET', `/channels/${room}/users`)).json.users.map(({ id }) => id).sort().join();
  const wanted = [...new Set(all.filter(raw => raw.subscribed).map(raw => raw.user))].sort().join();
  await eventually(async () => await truth() === wanted, 'all has been done');
  await eventually(() => all.every(raw => raw.fault || !raw.subscribed || (raw.view && [...raw.view].sort().join() === wanted)),
    () => `${wanted}: ${all.filter(raw => raw.subscribed).map(raw => raw.view && [...raw.view].sort().join())}`);
  all.forEach(raw => assert.ifError(raw.fault));
});
