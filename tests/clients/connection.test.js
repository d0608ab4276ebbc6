// The connection itself: rows 1 to 15 of the feature table.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { freePort } from '../browser/support/nginx.js';
import { send } from './support/rest.js';
import { app, errorCodes, eventually, online, Shop, subscribe } from './support/shop.js';

const terminal = (code, message) => ({ event: 'pusher:error', data: { code, message } });

// A refused connection: upgraded, then told why, then closed with the same code.
async function refused(raw, code) {
  const { code: closeCode, reason } = await raw.closed();
  assert.equal(raw.upgrade.statusCode, 101);
  const [{ text, ...error }, ...rest] = raw.frames;
  assert.deepEqual(rest, []);
  assert.deepEqual(error, terminal(code, error.data.message));
  assert.ok(error.data.message.length > 0);
  assert.equal(closeCode, code);
  assert.ok(reason.length > 0 && Buffer.byteLength(reason) <= 123);
}

test('row 1: pusher-js connects to /app/<key>', async t => {
  const shop = await Shop.open(t);
  const client = await shop.connected();
  assert.match(client.connection.socket_id, /^\d+\.\d+$/);
  assert.deepEqual(client.states, ['connected']);
  assert.deepEqual(client.problems, []);
});

test('rows 1, 3: each SDK\'s own request target connects', async t => {
  const shop = await Shop.open(t);
  for (const query of ['protocol=7&client=js&version=8.6.0&flash=false', 'client=java-client&protocol=5&version=2.4.4',
    'protocol=5&client=pusher-dotnet-client&version=2.3.1', 'client=pusher-websocket-swift&version=10.1.10&protocol=7',
    'protocol=4', 'protocol=6', 'something=else', '']) {
    const raw = await shop.rawConnected({ query });
    raw.disconnect();
    assert.equal((await raw.closed()).code, 1000, query);
  }
  const bare = await shop.rawConnected({ target: `/app/${app.key}` });
  assert.deepEqual(await bare.settled(), [bare.frames[0]].map(({ text, ...frame }) => frame));
});

test('rows 2, 15: a refusal comes after the upgrade, as an error and a Close frame with code and reason', async t => {
  const shop = await Shop.open(t);
  await refused(shop.raw({ key: 'unknown' }), 4001);
});

test('row 3: an unsupported protocol version is closed with 4007', async t => {
  const shop = await Shop.open(t);
  for (const version of ['0', '1', '3', '8', '99', '-7', '7x', '18446744073709551623']) {
    await refused(shop.raw({ query: `protocol=${version}` }), 4007);
  }
});

test('row 4: the offered subprotocol is echoed, and none is invented', async t => {
  const shop = await Shop.open(t);
  const swift = await shop.rawConnected({ protocols: ['pusher-channels-protocol-7'] });
  assert.equal(swift.socket.protocol, 'pusher-channels-protocol-7');
  const choice = await shop.rawConnected({ protocols: ['soap', 'pusher-channels-protocol-5'] });
  assert.equal(choice.socket.protocol, 'pusher-channels-protocol-5');
  const none = await shop.rawConnected();
  assert.equal(none.upgrade.headers['sec-websocket-protocol'], undefined);
  const foreign = shop.raw({ protocols: ['soap'] });
  await eventually(() => foreign.error, 'the client misses its subprotocol');
  assert.match(String(foreign.error), /no subprotocol/);
});

test('rows 5, 6: connection_established is the first frame, its socket_id is new each time', async t => {
  const shop = await Shop.open(t);
  const ids = new Set();
  for (let i = 0; i < 30; ++i) {
    const raw = await shop.rawConnected();
    const { text, ...frame } = raw.frames[0];
    assert.deepEqual(Object.keys(frame).sort(), ['data', 'event']);
    const data = JSON.parse(frame.data);
    assert.deepEqual(Object.keys(data).sort(), ['activity_timeout', 'socket_id']);
    assert.equal(data.activity_timeout, 120);
    assert.match(data.socket_id, /^\d+\.\d+$/);
    ids.add(data.socket_id);
    raw.disconnect();
  }
  assert.equal(ids.size, 30);
});

test('rows 6, 7: pusher-js takes over activity_timeout, pings when idle, and stays', async t => {
  const shop = await Shop.open(t, { rules: 'activity_timeout 1s;' });
  const client = await shop.connected({ pongTimeout: 1000 });
  const pongs = [];
  client.connection.bind('message', ({ event }) => pongs.push(event));
  await eventually(() => pongs.filter(event => event === 'pusher:pong').length >= 2, 'two pongs');
  assert.deepEqual(client.states, ['connected']);
});

test('row 7: pusher:ping is answered by pusher:pong, whatever its data', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  for (const data of ['{}', '"{}"', 'null', '""', undefined, '[]', '1', '"x"']) {
    raw.send(`{"event":"pusher:ping"${data === undefined ? '' : `,"data":${data}`}}`);
    const pong = await raw.next('pusher:pong');
    assert.equal(pong.text.replaceAll(' ', ''), '{"event":"pusher:pong","data":"{}"}');
  }
  raw.send({ event: 'pusher:pong', data: {} });
  raw.send({ event: 'pusher:pong' });
  assert.equal((await raw.settled()).length, 1, 'a pong is not answered');
});

test('row 8: a WebSocket ping is answered with its own payload', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  for (const payload of ['', 'hello', 'x'.repeat(125)]) {
    raw.socket.ping(payload);
    await eventually(() => raw.pongs.includes(payload), 'the pong');
  }
  assert.deepEqual(raw.pongs, ['', 'hello', 'x'.repeat(125)]);
});

test('row 9: a peer that answers no ping is closed with 4201, an idle one that does is kept', async t => {
  const shop = await Shop.open(t, { rules: 'activity_timeout 1s;', http: 'realtime_ping 1s; realtime_timeout 3s;' });
  const silent = await shop.rawConnected({ autoPong: false });
  let pings = 0;
  silent.socket.on('ping', () => { ++pings; });
  const idle = await shop.rawConnected();
  const client = await shop.connected({ activityTimeout: 60000 });
  const { code } = await silent.closed(60000);
  assert.equal(code, 4201);
  assert.ok(pings > 0, 'it was asked with a ping frame');
  assert.equal(silent.frames.filter(frame => frame.event === 'pusher:ping').length, 0, 'and not with pusher:ping');
  assert.deepEqual(await idle.settled(), idle.frames.slice(0, 1).map(({ text, ...frame }) => frame));
  assert.equal(client.connection.state, 'connected');
  assert.deepEqual(client.states, ['connected']);
});

test('row 10: an app that wants TLS says 4000, and pusher-js comes back with it', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'realtime-tls.'));
  t.after(() => rmSync(directory, { recursive: true }));
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', `${directory}/key`, '-out', `${directory}/cert`],
  { stdio: 'ignore' });
  const tlsPort = await freePort();
  const shop = await Shop.open(t, { rules: 'tls_only on;', server: `listen 127.0.0.1:${tlsPort} ssl reuseport;
    ssl_certificate ${directory}/cert; ssl_certificate_key ${directory}/key;` });
  await refused(shop.raw(), 4000);
  // The certificate is nobody's, and read for each connection anew.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  t.after(() => { delete process.env.NODE_TLS_REJECT_UNAUTHORIZED; });
  const client = shop.client({ wssPort: tlsPort, enabledTransports: ['ws', 'wss'] });
  await online(client);
  assert.ok(client.connection.isUsingTLS());
  assert.equal(errorCodes(client)[0], 4000);
  const news = await subscribe(client, 'news');
  await shop.server.trigger('news', 'created', 1);
  await eventually(() => news.log.some(([event]) => event === 'created'), 'it hears');
});

test('row 11: an app that is switched off says 4003, and 403 over REST', async t => {
  const shop = await Shop.open(t, { rules: 'disabled on;' });
  await refused(shop.raw(), 4003);
  const client = shop.client();
  await eventually(() => client.connection.state === 'disconnected' && client.problems.length, 'pusher-js gives up');
  assert.equal(errorCodes(client)[0], 4003);
  assert.equal((await shop.rest('GET', '/channels')).status, 403);
});

test('row 11: pusher-js gives up on an unknown key', async t => {
  const shop = await Shop.open(t);
  const client = shop.client({ key: 'unknown' });
  await eventually(() => client.connection.state === 'disconnected' && client.problems.length, 'it gives up');
  assert.deepEqual(client.states, ['disconnected']);
  assert.equal(errorCodes(client)[0], 4001);
});

test('row 12: one connection more than max_connections is refused with 4004, whichever worker it reaches', async t => {
  const shop = await Shop.open(t, { rules: 'max_connections 3;' });
  const kept = [];
  const [one, other] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  kept.push(one, other);
  await eventually(async () => {
    // Those that onEachWorker() did not want may still be closing.
    const third = shop.raw();
    await eventually(() => third.frames.length, 'an answer');
    if (third.frames[0].event === 'pusher:connection_established') {
      kept.push(third);
    }
    return kept.length === 3;
  }, 'three fit');
  for (let i = 0; i < 8; ++i) {
    await refused(shop.raw(), 4004);
  }
  const client = shop.client();
  await eventually(() => client.connection.state === 'disconnected', 'pusher-js is refused');
  assert.equal(errorCodes(client)[0], 4004);
  kept[0].disconnect();
  await kept[0].closed();
  await eventually(async () => {
    client.connect();
    return eventually(() => client.connection.state === 'connected', '', 500).catch(() => false);
  }, 'a place that became free is used');
});

test('row 12: one channel more than max_channels is refused, and the connection goes on', async t => {
  const shop = await Shop.open(t, { rules: 'max_channels 3;' });
  const raw = await shop.rawConnected();
  await raw.signedIn({ id: 'u-1', user_info: {} });
  for (const channel of ['a', 'private-b', 'c']) {
    await raw.subscribe(channel);
  }
  raw.requestChannel('d');
  const { channel, data } = await raw.next('pusher:subscription_error');
  assert.equal(channel, 'd');
  const { type, status } = JSON.parse(data);
  assert.deepEqual([type, status], ['LimitReached', 4100]);
  raw.send({ event: 'pusher:unsubscribe', data: { channel: 'a' } });
  await raw.subscribe('d');
});

test('row 13: an origin that is not allowed is closed with 4009', async t => {
  const shop = await Shop.open(t, { rules: 'origins https://shop.example;' });
  await refused(shop.raw({ origin: 'https://evil.example' }), 4009);
  await shop.rawConnected({ origin: 'https://shop.example' });
  await shop.rawConnected(); // A native client sends none.
});

test('row 14: a reload disconnects nobody, and pusher-js sees no change of state', async t => {
  const shop = await Shop.open(t, { http: 'realtime_drain 60s;' });
  const client = await shop.connected();
  const news = await subscribe(client, 'news');
  const before = client.connection.socket_id;
  const states = [];
  client.connection.bind('state_change', change => states.push(change));
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  await shop.server.trigger('news', 'later', 1);
  await eventually(() => news.log.some(([event]) => event === 'later'), 'it hears what comes later');
  assert.deepEqual(states, []);
  assert.equal(client.connection.socket_id, before);
});

test('row 14: a graceful quit closes with 4200', async t => {
  const shop = await Shop.open(t, { http: 'realtime_drain 1s;' });
  const [one, other] = await shop.onEachWorker(() => shop.rawConnected(), () => shop.rawConnected());
  process.kill(shop.nginx.process.pid, 'SIGQUIT');
  for (const raw of [one, other]) {
    const { code, reason } = await raw.closed();
    assert.equal(code, 4200);
    assert.ok(reason.length > 0);
    const { text, ...error } = raw.frames.at(-1);
    assert.deepEqual(error, terminal(4200, error.data.message));
  }
});

test('row 15: the client\'s own Close is answered with its code', async t => {
  const shop = await Shop.open(t);
  for (const code of [1000, 1001, 3000, 4999]) {
    const raw = await shop.rawConnected();
    raw.socket.close(code, 'bye');
    assert.equal((await raw.closed()).code, code);
  }
});

test('rows 1, 15: a path without a key is closed with 4005', async t => {
  const shop = await Shop.open(t);
  await refused(shop.raw({ target: '/app/' }), 4005);
});

test('row 1: a GET without an upgrade is told so', async t => {
  const shop = await Shop.open(t);
  const answer = await send(shop, 'GET', `/app/${app.key}`);
  assert.ok([400, 426].includes(answer.status), String(answer.status));
});

test('row 15: binary, invalid UTF-8 and oversize are closed with their RFC 6455 codes', async t => {
  const shop = await Shop.open(t);
  const cases = [
    [raw => raw.socket.send(Buffer.from('{"event":"pusher:ping"}'), { binary: true }), 1003],
    [raw => raw.socket.send(Buffer.from([0x22, 0xff, 0x22]), { binary: false }), 1007],
    [raw => raw.send(`{"event":"pusher:ping","data":"${'x'.repeat(70000)}"}`), 1009],
  ];
  for (const [spoil, code] of cases) {
    const raw = await shop.rawConnected();
    spoil(raw);
    assert.equal((await raw.closed()).code, code);
  }
});

test('row 1: a message in fragments, with a ping between them, is one message', async t => {
  const shop = await Shop.open(t);
  const raw = await shop.rawConnected();
  const parts = ['{"event":"pusher:sub', 'scribe","data":{"channel":"ne', 'ws"}}'];
  raw.socket.send(parts[0], { fin: false });
  raw.socket.ping('between');
  raw.socket.send(parts[1], { fin: false });
  raw.socket.send(parts[2], { fin: true });
  const succeeded = await raw.next('pusher_internal:subscription_succeeded');
  assert.equal(succeeded.channel, 'news');
  await eventually(() => raw.pongs.includes('between'), 'the ping is answered');
});

test('row 1: the largest data of a client fits: 10 KiB, escaped sixfold', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const [one, other] = [await shop.rawConnected(), await shop.rawConnected()];
  await one.subscribe('private-big');
  await other.subscribe('private-big');
  const data = '\u0001'.repeat(10240);
  one.send({ event: 'client-big', channel: 'private-big', data });
  assert.equal((await other.next('client-big')).data, data);
});

test('row 1: thirty connections come and go, and nothing of them remains', async t => {
  const shop = await Shop.open(t, { rules: 'max_connections 40;' });
  const many = await Promise.all(Array.from({ length: 30 }, () => shop.rawConnected()));
  await Promise.all(many.map(raw => raw.subscribe('crowd')));
  many.forEach((raw, i) => (i % 2 ? raw.disconnect() : raw.socket.terminate()));
  await eventually(async () => {
    const { json } = await shop.rest('GET', '/channels/crowd', { parameters: { info: 'subscription_count' } });
    return json.occupied === false && json.subscription_count === 0;
  }, 'nobody is there');
  assert.equal(many[0].socket.readyState, WebSocket.CLOSED);
});
