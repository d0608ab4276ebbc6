// What no SDK sends. Each frame has its specified answer, disturbs nobody else, and leaves the connection usable.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { send } from './support/rest.js';
import { app, heard, Shop, subscribe } from './support/shop.js';

// A soft error with the code null, and nothing else.
async function soft(raw, frame) {
  raw.send(frame);
  const frames = await raw.settled();
  const shown = String(frame).slice(0, 100);
  assert.equal(frames.length, 1, `${shown}: ${JSON.stringify(frames)}`);
  assert.equal(frames[0].event, 'pusher:error', shown);
  assert.equal(frames[0].data.code, null, shown);
  assert.ok(frames[0].data.message.length > 0);
}

test('rows 1, 16, 38: frames that are no messages', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const witness = await subscribe(await shop.connected(), 'news');
  await raw.settled();
  for (const frame of ['', ' ', 'nonsense', '{', '{}', '[]', 'null', 'true', '7', '"text"', '{"event"}', '{"event":7}', '{"event":null}',
    '{"event":["pusher:ping"]}', '{"event":{}}', '{"event":""}', '{"data":{}}', '{"event":"pusher:ping"', '{"event":"pusher:ping"}x',
    '{"event":"pusher:ping",}', '{\'event\':\'pusher:ping\'}', '{"event":"\\ud800"}', '{"event":"pusher:ping","data":\u0001}',
    '['.repeat(30000), `{"event":"pusher:ping","data":${'['.repeat(20000)}${']'.repeat(20000)}}`,
    `{"event":"pusher:ping","data":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`]) {
    await soft(raw, frame);
  }
  for (const event of ['pusher:unknown', 'pusher_internal:subscription_succeeded', 'pusher:connection_established', 'pusher:error',
    'pusher_internal:member_added', 'unknown', 'realtime:unknown', 'x'.repeat(10000)]) {
    await soft(raw, JSON.stringify({ event, channel: 'news', data: '{}' }));
  }
  await shop.server.trigger('news', 'last', 1);
  await heard(witness, 'last');
  assert.deepEqual(witness.log.map(([name]) => name), ['pusher:subscription_succeeded', 'last']);
});

test('row 16: subscribes and unsubscribes of a wrong shape', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  for (const event of ['pusher:subscribe', 'pusher:unsubscribe']) {
    for (const data of ['[]', '7', 'true', '"text"', '"[]"', '{"channel":7}', '{"channel":null}', '{"channel":{}}', '{"channel":["news"]}',
      '{}', 'null', '""', undefined]) {
      raw.send(`{"event":"${event}"${data === undefined ? '' : `,"data":${data}`}}`);
      const frames = await raw.settled();
      assert.ok(frames.length <= 1, `${data}: ${JSON.stringify(frames)}`);
      for (const frame of frames) {
        assert.ok(['pusher:error', 'pusher:subscription_error'].includes(frame.event), JSON.stringify(frame));
      }
      assert.ok(event === 'pusher:unsubscribe' || frames.length === 1, `${event} ${data}`);
    }
  }
  await raw.subscribe('news');
});

test('row 38: sign-ins of a wrong shape', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  for (const data of ['[]', '7', '"text"', 'null', undefined, '{"auth":[],"user_data":{}}', '{"auth":null,"user_data":null}']) {
    raw.send(`{"event":"pusher:signin"${data === undefined ? '' : `,"data":${data}`}}`);
    assert.deepEqual((await raw.settled()).map(({ event }) => event), ['pusher:error'], String(data));
  }
});

test('row 34: client events of a wrong shape', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const raw = await shop.rawConnected();
  await raw.subscribe('private-a');
  await raw.settled();
  for (const channel of ['7', 'null', '{}', '[]', '""', '"a b"', undefined]) {
    raw.send(`{"event":"client-x","data":1${channel === undefined ? '' : `,"channel":${channel}`}}`);
    assert.deepEqual((await raw.settled()).map(({ event }) => event), ['pusher:error'], String(channel));
  }
});

test('row 1: a name that is repeated, escaped or unknown', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  await raw.settled();
  raw.send('{"ev\\u0065nt":"pusher\\u003asubscribe","unknown":[{"event":"x"}],"data":{"ch\\u0061nnel":"news","tags":{"a":[1]}}}');
  assert.deepEqual((await raw.settled()).map(({ event, channel }) => [event, channel]),
    [['pusher_internal:subscription_succeeded', 'news']]);
});

test('rows 1, 52: request targets of every shape', async t => {
  const shop = await Shop.open(t);
  for (const target of ['/app/%00', '/app/%zz', `/app/${'k'.repeat(3000)}`, '/app/../app/', `/app/${app.key}/x`, '/app/?', '/app/a%2Fb',
    `/app/${app.key}%20`]) {
    const raw = shop.raw({ target });
    const refusal = await Promise.race([raw.closed(), new Promise(resolve => raw.socket.once('unexpected-response',
      (request, response) => resolve({ code: response.statusCode })))]);
    assert.ok([4001, 4005, 400, 404, 414].includes(refusal.code), `${target}: ${JSON.stringify(refusal)}`);
  }
  for (const target of ['/apps/', '/apps/731', '/apps//channels', '/apps/%00/channels', '/apps/731/channels/%', `/apps/${'7'.repeat(3000)}/channels`,
    '/apps/731/../731/channels', '/apps/731/channels?%00=%00', `/apps/731/channels?${'a=b&'.repeat(1500)}`]) {
    const answer = await send(shop, 'GET', target);
    assert.ok([400, 401, 404, 414].includes(answer.status), `${target}: ${answer.status}`);
  }
  await shop.rawConnected();
});

test('row 1: a connection that floods is served no faster, and others are served meanwhile', async t => {
  const shop = await Shop.open(t);
  const flood = await shop.rawConnected();
  const witness = await subscribe(await shop.connected(), 'news');
  for (let i = 0; i < 20000; ++i) {
    flood.send('{"event":"pusher:unsubscribe","data":{"channel":"never"}}');
  }
  await shop.server.trigger('news', 'meanwhile', 1);
  await heard(witness, 'meanwhile');
  await flood.settled();
});

test('row 1: a client that goes without a word leaves nothing behind', async t => {
  const shop = await Shop.open(t);
  for (let i = 0; i < 20; ++i) {
    const raw = await shop.rawConnected();
    raw.requestChannel('news');
    raw.requestChannel('presence-room', JSON.stringify({ user_id: `u-${i}` }));
    raw.signIn({ id: `u-${i}` });
    raw.socket.terminate();
  }
  const watcher = await shop.rawConnected();
  await watcher.join('presence-room', 'watcher');
  const { json } = await shop.rest('GET', '/channels/presence-room/users');
  assert.ok(json.users.length >= 1);
  const deadline = Date.now() + 10000;
  for (;;) {
    const { json: now } = await shop.rest('GET', '/channels', { parameters: { info: 'subscription_count' } });
    if (JSON.stringify(now) === '{"channels":{"presence-room":{"subscription_count":1}}}') {
      break;
    }
    assert.ok(Date.now() < deadline, JSON.stringify(now));
  }
});
