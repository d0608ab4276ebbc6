// permessage-deflate as Node's ws and Chromium (with pusher-js) have it, over a reload too.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import WebSocket from 'ws';
import { launch } from '../browser/support/chromium.js';
import { app, eventually, Shop } from './support/shop.js';

const locations = `
    location ~ ^/ws/(?<ch>.+)$ { realtime_pubsub $ch; }
    location ~ ^/plain/(?<ch>.+)$ { realtime_deflate off; realtime_pubsub $ch; }`;
const open = t => Shop.open(t, { http: 'realtime_deflate on; realtime_drain 60s; realtime_max_message_size 256k;', server: locations });

function words(size) {
  let text = '';
  for (let i = 0; text.length < size; i++) {
    text += `wörd ${i * i % 97} `;
  }
  return text.slice(0, size);
}

const figures = async shop => (await fetch(`${shop.url}/realtime/?format=json`)).json();

async function reload(shop) {
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
}

// ws, with what it has received in `got`. `threshold`: it compresses what is longer.
async function connect(t, shop, path, { protocol = [], ...deflate } = {}) {
  const socket = new WebSocket(`ws://127.0.0.1:${shop.port}${path}`, protocol,
    { perMessageDeflate: { threshold: 0, ...deflate } });
  socket.got = [];
  socket.on('upgrade', answer => { socket.negotiated = answer.headers['sec-websocket-extensions'] ?? ''; });
  socket.ended = new Promise(resolve => socket.on('close', (code, reason) => resolve([code, String(reason)])));
  socket.on('message', (data, binary) => socket.got.push(binary ? data : String(data)));
  t.after(() => socket.terminate());
  await new Promise((resolve, reject) => socket.on('open', resolve).on('error', reject));
  return socket;
}

test('ws: messages of all sizes, there and back, in every form', async t => {
  const shop = await open(t);
  const raw = await connect(t, shop, '/ws/room');
  const window = await connect(t, shop, '/ws/room', { serverMaxWindowBits: 13, clientMaxWindowBits: 9 });
  const json = await connect(t, shop, '/ws/room', { protocol: ['realtime.json'] });
  const off = await connect(t, shop, '/plain/room');
  assert.equal(raw.negotiated, 'permessage-deflate; server_no_context_takeover; client_no_context_takeover');
  assert.match(window.negotiated, /; server_max_window_bits=12$/);
  assert.equal(json.protocol, 'realtime.json');
  assert.equal(off.negotiated, '');
  const sizes = [0, 1, 125, 126, 127, 128, 4096, 65535, 65536, 100000];
  const sent = sizes.map(words);
  for (const message of sent) {
    raw.send(message);
  }
  await eventually(() => [raw, window, json, off].every(one => one.got.length === sizes.length), 'all come back');
  for (const one of [raw, window, off]) {
    assert.deepEqual(one.got, sent);
  }
  assert.deepEqual(json.got.map(text => JSON.parse(text).data), sent);
  const bytes = Buffer.alloc(5000, 0xfe);
  window.send(bytes);
  await eventually(() => raw.got.length > sizes.length, 'bytes come back');
  assert.deepEqual(raw.got.at(-1), bytes);
});

test('ws: compressed fragments, also over a reload', async t => {
  const shop = await open(t);
  const socket = await connect(t, shop, '/ws/room');
  const parts = [words(3000), words(10), words(70000)];
  socket.send(parts[0], { fin: false });
  socket.ping();
  await reload(shop);
  socket.send(parts[1], { fin: false });
  await reload(shop);
  socket.send(parts[2]);
  await eventually(() => socket.got.length === 1, 'it is put together');
  assert.equal(socket.got[0], parts.join(''));
  assert.equal((await figures(shop)).handed_over_total, 2);
});

test('ws: what is too large when it is decompressed ends the connection', async t => {
  const shop = await open(t);
  const socket = await connect(t, shop, '/ws/room');
  socket.send('a'.repeat(20_000_000)); // 20 KB on the wire
  assert.equal((await socket.ended)[0], 1009);
});

test('ws: a window that we do not have is declined', async t => {
  const shop = await open(t);
  const socket = await connect(t, shop, '/ws/room', { serverMaxWindowBits: 9 });
  assert.equal(socket.negotiated, '');
  socket.send(words(1000));
  await eventually(() => socket.got.length === 1, 'it comes back plain');
  assert.equal(socket.got[0], words(1000));
});

test('Chromium: pusher-js and plain WebSockets get compressed messages and send them', async t => {
  const browser = await launch();
  t.after(() => browser.close());
  const shop = await open(t);
  const page = await (await browser.newContext()).newPage();
  await page.goto(`${shop.url}/page/`);
  await page.evaluate(async ([key, port]) => {
    window.log = [];
    window.states = [];
    window.pusher = new window.Pusher(key, { cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'] });
    await new Promise(resolve => window.pusher.subscribe('news').bind('pusher:subscription_succeeded', resolve));
    window.pusher.connection.bind('state_change', change => window.states.push(change));
    window.pusher.channel('news').bind('created', data => window.log.push(data));
    window.socket = new WebSocket(`ws://127.0.0.1:${port}/ws/room`);
    window.socket.onmessage = event => window.log.push(event.data);
    await new Promise(resolve => { window.socket.onopen = resolve; });
  }, [app.key, shop.port]);
  assert.match(await page.evaluate(() => window.socket.extensions), /^permessage-deflate; server_no_context_takeover; client_no_context_takeover/);
  const log = () => page.evaluate(() => window.log.splice(0));
  const before = (await figures(shop)).deflate_in_bytes_total;
  for (const size of [10, 2000, 9000]) { // the Pusher API takes 10 KB
    for (const reloads of [false, true]) {
      if (reloads) {
        await reload(shop);
      }
      const data = { text: words(size) };
      await shop.server.trigger('news', 'created', data);
      await eventually(() => page.evaluate(() => window.log.length === 1), 'the event');
      assert.deepEqual(await log(), [data]);
      await page.evaluate(text => window.socket.send(text), data.text);
      await eventually(() => page.evaluate(() => window.log.length === 1), 'what the page has sent');
      assert.deepEqual(await log(), [data.text]);
    }
  }
  assert.deepEqual(await page.evaluate(() => window.states), []);
  const { deflate_in_bytes_total: size, deflate_out_bytes_total: less, protocol_errors_total: errors } =
    await eventually(async () => {
      const now = await figures(shop);
      return now.deflate_in_bytes_total - before > 40000 && now;
    }, 'they are counted as compressed');
  assert.ok(less < size / 3, `${size} bytes have become ${less}`);
  assert.equal(errors, 0);
});
