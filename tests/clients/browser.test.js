// The browser build of pusher-js, with encryption, and Echo's, in Chromium.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch } from '../browser/support/chromium.js';
import { app, eventually, Shop } from './support/shop.js';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

// A tab with a connected pusher-js as `pusher`; what happens to it is in `log`.
async function tab(t, shop, user, name) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.problems = [];
  page.foreign = [];
  page.on('pageerror', error => page.problems.push(String(error)));
  page.on('request', request => {
    if (!request.url().startsWith(shop.url)) {
      page.foreign.push(request.url());
    }
  });
  await page.goto(`${shop.url}/page/`);
  await page.evaluate(async ([key, port, params]) => {
    window.log = [];
    window.pusher = new window.Pusher(key, {
      cluster: '', wsHost: '127.0.0.1', wsPort: port, forceTLS: false, enabledTransports: ['ws'],
      channelAuthorization: { endpoint: '/pusher/auth', transport: 'ajax', params },
      userAuthentication: { endpoint: '/pusher/user-auth', transport: 'ajax', params },
    });
    window.join = channel => new Promise((resolve, reject) => {
      window.room = window.pusher.subscribe(channel);
      window.room.bind_global((event, data) => window.log.push([event, data]));
      window.room.bind('pusher:subscription_succeeded', resolve);
      window.room.bind('pusher:subscription_error', reject);
    }).then(() => undefined);
    await new Promise(resolve => window.pusher.connection.bind('connected', resolve));
  }, [app.key, shop.port, { user, name }]);
  return page;
}

const log = page => page.evaluate(() => window.log.filter(([event]) => event !== 'pusher:subscription_succeeded'));
const shows = (page, wanted, what) => eventually(async () => (await log(page)).some(wanted), what);

function clean(pages) {
  for (const page of pages) {
    assert.deepEqual(page.problems, []);
    assert.deepEqual(page.foreign, [], 'everything comes from here');
  }
}

test('rows 24, 25, 34, 36: two tabs see each other\'s presence and client events', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const ada = await tab(t, shop, 'u-17', 'Ada');
  const lin = await tab(t, shop, 'u-18', 'Lin');
  await ada.evaluate(() => window.join('presence-room'));
  await lin.evaluate(() => window.join('presence-room'));
  await shows(ada, ([event, data]) => event === 'pusher:member_added' && data.id === 'u-18' && data.info.name === 'Lin', 'Lin joins');
  assert.deepEqual(await lin.evaluate(() => Object.keys(window.room.members.members).sort()), ['u-17', 'u-18']);
  await ada.evaluate(() => window.room.trigger('client-typing', { text: 'Zoë' }));
  await shows(lin, ([event, data]) => event === 'client-typing' && data.text === 'Zoë', 'Lin sees Ada type');
  await lin.evaluate(() => window.room.trigger('client-typing', { text: 'hi' }));
  await shows(ada, ([event, data]) => event === 'client-typing' && data.text === 'hi', 'Ada sees Lin type');
  await lin.reload();
  await shows(ada, ([event]) => event === 'pusher:member_removed', 'Lin is gone');
  assert.deepEqual((await log(ada)).map(([event]) => event), ['pusher:member_added', 'client-typing', 'pusher:member_removed']);
  clean([ada, lin]);
});

test('row 25: two tabs of one user are one member, until the last is closed', async t => {
  const shop = await Shop.open(t);
  const watcher = await tab(t, shop, 'w', 'Watcher');
  await watcher.evaluate(() => window.join('presence-room'));
  const tabs = [await tab(t, shop, 'u-17', 'Ada'), await tab(t, shop, 'u-17', 'Ada')];
  for (const page of tabs) {
    await page.evaluate(() => window.join('presence-room'));
  }
  await tabs[0].close();
  await eventually(async () => (await shop.rest('GET', '/channels/presence-room',
    { parameters: { info: 'subscription_count' } })).json.subscription_count === 2, 'one tab is closed');
  await shop.server.trigger('presence-room', 'mark', 1);
  await shows(watcher, ([event]) => event === 'mark', 'the mark');
  assert.deepEqual((await log(watcher)).map(([event]) => event), ['pusher:member_added', 'mark']);
  await tabs[1].close();
  await shows(watcher, ([event, data]) => event === 'pusher:member_removed' && data.id === 'u-17', 'the user is gone');
  clean([watcher]);
});

test('rows 16, 28, 29: the browser build hears public, encrypted and cache channels', async t => {
  const shop = await Shop.open(t);
  await shop.server.trigger('cache-btc', 'price', { usd: 7 });
  const page = await tab(t, shop, 'u-17', 'Ada');
  for (const channel of ['news', 'private-orders', 'private-encrypted-orders', 'cache-btc']) {
    await page.evaluate(name => window.join(name), channel);
  }
  await shop.server.trigger(['news', 'private-orders'], 'created', { id: 1 });
  await shop.server.trigger('private-encrypted-orders', 'secret', { id: 2 });
  await eventually(async () => (await log(page)).length >= 4, 'four events');
  assert.deepEqual((await log(page)).map(([event, data]) => [event, JSON.stringify(data)]).sort(),
    [['created', '{"id":1}'], ['created', '{"id":1}'], ['price', '{"usd":7}'], ['secret', '{"id":2}']]);
  clean([page]);
});

test('rows 38, 39: the browser build signs in and hears what is sent to its user', async t => {
  const shop = await Shop.open(t);
  const page = await tab(t, shop, 'u-17', 'Ada');
  await page.evaluate(() => new Promise(resolve => {
    window.pusher.user.bind('invoice-ready', data => window.log.push(['invoice-ready', data]));
    window.pusher.signin();
    const timer = setInterval(() => {
      if (window.pusher.user.serverToUserChannel?.subscribed) {
        clearInterval(timer);
        resolve();
      }
    }, 10);
  }));
  await shop.server.sendToUser('u-17', 'invoice-ready', { no: 7 });
  await shows(page, ([event, data]) => event === 'invoice-ready' && data.no === 7, 'the invoice');
  clean([page]);
});

test('row 14: a page does not notice a reload of nginx', async t => {
  const shop = await Shop.open(t, { http: 'realtime_drain 60s;' });
  const page = await tab(t, shop, 'u-17', 'Ada');
  await page.evaluate(() => window.join('news'));
  await page.waitForFunction(() => window.pusher.connection.state === 'connected' && window.room.subscribed);
  await page.evaluate(() => {
    window.states = [];
    window.pusher.connection.bind('state_change', change => window.states.push(change));
  });
  const old = shop.nginx.workers();
  shop.nginx.reload();
  await eventually(() => shop.nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  await shop.server.trigger('news', 'later', 1);
  await shows(page, ([event]) => event === 'later', 'it hears what comes later');
  assert.deepEqual(await page.evaluate(() => window.states), []);
  clean([page]);
});

test('rows 24, 34: Echo\'s browser build joins and whispers', async t => {
  const shop = await Shop.open(t, { rules: 'client_events on;' });
  const pages = [await tab(t, shop, 'u-17', 'Ada'), await tab(t, shop, 'u-18', 'Lin')];
  for (const page of pages) {
    await page.evaluate(key => new Promise(resolve => {
      window.echo = new window.Echo.default({ broadcaster: 'pusher', key, client: window.pusher });
      window.echoed = window.echo.join('hall').here(users => resolve(users)).listenForWhisper('typing',
        data => window.log.push(['whisper', data]));
    }), app.key);
  }
  await pages[0].evaluate(() => window.echoed.whisper('typing', { on: true }));
  await shows(pages[1], ([event, data]) => event === 'whisper' && data.on, 'the whisper');
  clean(pages);
});

test('row 64: without enabledTransports, a browser whose WebSocket works asks for no fallback', async t => {
  const shop = await Shop.open(t);
  const page = await tab(t, shop, 'u-17', 'Ada');
  await page.evaluate(([key, port]) => new Promise(resolve => {
    window.second = new window.Pusher(key, { cluster: '', wsHost: '127.0.0.1', wsPort: port, httpHost: '127.0.0.1', httpPort: port,
      forceTLS: false });
    window.second.connection.bind('connected', resolve);
  }), [app.key, shop.port]);
  assert.equal(await page.evaluate(() => window.second.connection.connection.transport.name), 'ws');
  clean([page]);
});
