// The client in Chromium against real nginx with two workers.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../../tests/browser/support/chromium.js';
import { eventually } from '../../tests/browser/support/nginx.js';
import { app, client, follow, open } from './support/shop.js';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

// A page of the shop with the script build; `options` are connect()'s. What it hears of `orders` is in `heard`.
async function openPage(t, shop, { path = `/app/${app.key}`, context, ...options } = {}) {
  const own = context ?? await browser.newContext();
  if (!context) {
    t.after(() => own.close());
  }
  const page = await own.newPage();
  page.problems = [];
  page.on('pageerror', error => page.problems.push(String(error)));
  await page.goto(`${shop.url}/page/`);
  await page.addScriptTag({ url: '/client/realtime.min.js' });
  await page.evaluate(([url, given]) => {
    const { persist, ...rest } = given;
    window.heard = [];
    window.starts = [];
    window.receipts = [];
    window.rt = window.realtime.connect(url, { ...rest, ...persist && { storage: localStorage } });
    window.rt.subscribe('orders', message => window.heard.push(message.data), { since: 'earliest',
      onStart: start => window.starts.push(start.recovered) });
    window.report = data => window.rt.publish('orders', 'n', data).then(receipt => window.receipts.push(receipt.id));
  }, [path, options]);
  return page;
}

const heard = page => page.evaluate(() => window.heard);
const hears = (page, data) => eventually(async () => (await heard(page)).includes(data), async () => `${data}; heard ${await heard(page)}`);
const state = (page, wanted) => page.waitForFunction(one => window.rt.state === one, wanted);
const http = { subscribe: '/sub/', publish: '/pub/', probe: 300 };

test('it goes offline and back: what happened on both sides arrives, once and in order', async t => {
  const shop = await open(t);
  const page = await openPage(t, shop);
  const other = client(t, shop);
  const there = await follow(other, 'orders');
  await page.evaluate(() => window.report('before'));
  await page.context().setOffline(true);
  await state(page, 'offline');
  await page.evaluate(() => {
    window.report('a');
    window.report('b');
    window.report('c');
  });
  await other.publish('orders', 'n', 'meanwhile');
  assert.equal(await page.evaluate(() => window.receipts.length), 1);
  await page.context().setOffline(false);
  await hears(page, 'c');
  assert.deepEqual(await heard(page), ['before', 'meanwhile', 'a', 'b', 'c']);
  assert.deepEqual(there.map(message => message.data), ['before', 'meanwhile', 'a', 'b', 'c']);
  assert.deepEqual(await page.evaluate(() => window.starts), [true, true]);
  await eventually(async () => new Set(await page.evaluate(() => window.receipts)).size === 4, 'each is acknowledged');
  assert.deepEqual(page.problems, []);
});

test('its worker is killed and nginx reloads: nothing is lost, nothing comes twice', async t => {
  const shop = await open(t, { http: 'realtime_drain 1s;' });
  shop.killed = true;
  const page = await openPage(t, shop);
  await state(page, 'connected');
  await page.evaluate(() => {
    window.count = 0;
    window.timer = setInterval(() => window.report(window.count++), 5);
  });
  for (const pid of shop.nginx.workers()) {
    await shop.nginx.killWorker(pid);
  }
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  const count = await page.evaluate(() => {
    clearInterval(window.timer);
    return window.count;
  });
  await eventually(async () => (await page.evaluate(() => window.receipts.length)) === count, 'all are acknowledged');
  await hears(page, count - 1);
  assert.deepEqual(await heard(page), Array.from({ length: count }, (_, n) => n));
  assert.ok((await page.evaluate(() => window.starts)).every(Boolean));
  assert.deepEqual(page.problems, []);
});

test('where WebSockets are blocked it works by HTTP', async t => {
  const shop = await open(t);
  const page = await openPage(t, shop, { path: '/blocked/app/x', fallback: http });
  await page.evaluate(() => window.report({ by: 'http' }));
  await eventually(async () => (await heard(page)).length, 'the message');
  assert.deepEqual(await heard(page), [{ by: 'http' }]);
  assert.deepEqual(await page.evaluate(() => window.starts), [true]);
  assert.deepEqual(page.problems, []);
});

test('it stays with WebSockets where they work, and asks nothing else of the server', async t => {
  const shop = await open(t);
  const page = await openPage(t, shop, { fallback: http });
  await page.evaluate(() => window.report(1));
  await hears(page, 1);
  assert.doesNotMatch(shop.accessLog(), /\/(pub|sub)\//);
});

test('what a page cannot send any more when it is left goes by sendBeacon', async t => {
  const shop = await open(t);
  const there = await follow(client(t, shop), 'orders');
  // No connection comes about, neither to `blocked` nor before the page goes.
  const page = await openPage(t, shop, { path: '/blocked/app/x', fallback: { ...http, subscribe: '/blocked/' }, backoff: { min: 60000, max: 60000 } });
  await page.evaluate(() => {
    window.report('goodbye');
    window.report('really');
  });
  await page.goto('about:blank');
  await eventually(() => there.length === 2, 'what it had to say');
  assert.deepEqual(there.map(message => [message.event, message.data]).sort(), [['n', 'goodbye'], ['n', 'really']]);
});

test('a page that is hidden and shown again publishes nothing twice', async t => {
  const shop = await open(t);
  const page = await openPage(t, shop, { fallback: http });
  await state(page, 'connected');
  await page.evaluate(() => {
    const sent = [];
    const beacon = navigator.sendBeacon.bind(navigator);
    navigator.sendBeacon = (...args) => sent.push(args[0]) && beacon(...args);
    window.sent = sent;
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
    for (let n = 0; n < 5; ++n) {
      window.report(n);
    }
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));
  });
  assert.equal(await page.evaluate(() => window.sent.length), 5);
  await eventually(() => (shop.accessLog().match(/POST \/pub\//g) ?? []).length === 5, 'the beacons');
  await page.evaluate(() => window.report('last'));
  await hears(page, 'last');
  assert.deepEqual((await heard(page)).sort(), [0, 1, 2, 3, 4, 'last']);
});

test('with localStorage, what was published offline outlives the page', async t => {
  const shop = await open(t);
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await openPage(t, shop, { context, persist: true });
  await state(page, 'connected');
  await context.setOffline(true);
  await state(page, 'offline');
  await page.evaluate(() => {
    window.report('kept');
    window.report('too');
  });
  await page.close();
  await context.setOffline(false);
  const next = await openPage(t, shop, { context, persist: true });
  await hears(next, 'too');
  assert.deepEqual(await heard(next), ['kept', 'too']);
  await next.waitForFunction(() => localStorage.length === 0);
});

test('in a web worker, and as a module', async t => {
  const shop = await open(t);
  const page = await openPage(t, shop);
  const data = await page.evaluate(url => new Promise((resolve, reject) => {
    const worker = new Worker(URL.createObjectURL(new Blob([`
      importScripts('${location.origin}/client/realtime.min.js');
      const rt = realtime.connect('${url}');
      rt.subscribe('orders', message => postMessage(message.data), { onStart: () => rt.publish('orders', 'n', 'from a worker') });
    `])));
    worker.onmessage = event => resolve(event.data);
    worker.onerror = reject;
  }), `${shop.url}/app/${app.key}`);
  assert.equal(data, 'from a worker');
  assert.equal(await page.evaluate(async ([base, key]) => {
    const { connect } = await import(`${base}/client/index.js`);
    const rt = connect(`/app/${key}`);
    const { id } = await rt.publish('orders', 'n', 'from a module');
    rt.close();
    return typeof id;
  }, [shop.url, app.key]), 'string');
  await hears(page, 'from a module');
});
