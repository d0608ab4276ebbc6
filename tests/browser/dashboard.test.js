// The dashboard in Chromium: it shows what happens, lives with a strict policy, and can be used by everybody.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventStream, post } from './support/curl.js';
import { eventually, modulePath, Nginx } from './support/nginx.js';
import { browser, started } from './support/session.js';

const Hostile = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>';

async function start({ permissions = '', http = '' } = {}) {
  const nginx = await Nginx.run(({ directory, port }) => `
    load_module ${modulePath};
    worker_processes 2;
    pid nginx.pid;
    error_log error.log info;
    events { worker_connections 512; }
    http {
      access_log off;
      realtime_zone main 8m;
      realtime_drain 1s;
      realtime_broker events { server sqlite:${directory}/data/events.db; }
      realtime_app default { broker events; }
      realtime_app shop { }
      ${http}
      server {
        listen 127.0.0.1:${port} reuseport;
        location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch event=$arg_event; }
        location ~ ^/sub/(?<ch>.+)$ { realtime_subscribe $ch; }
        location /status { realtime_status ${permissions}; }
      }
    }`);
  started.push(nginx);
  return nginx;
}

async function open(nginx, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', error => page.problems.push(String(error)));
  page.on('console', message => {
    if (message.type() === 'error' || (message.type() === 'warning' && !/getImageData/.test(message.text()))) {
      page.problems.push(message.text());
    }
  });
  page.on('request', request => {
    if (!request.url().startsWith(`${nginx.url}/status`) && !request.url().startsWith('data:')) {
      page.problems.push(`request to ${request.url()}`);
    }
  });
  await page.goto(`${nginx.url}/status`);
  await page.waitForSelector('#state[data-live]');
  return page;
}

async function finish(nginx, page, { killed = false, allowed = /^$/ } = {}) {
  assert.deepEqual(page.problems.filter(problem => !allowed.test(problem)), []);
  await page.context().close();
  assert.deepEqual(await nginx.stop({ killed }), []);
}

// Publishes to `channel` until it is told to stop, and has subscribers there.
function load(nginx, channel, subscribers = 3) {
  const agent = new Agent({ keepAlive: true });
  const streams = Array.from({ length: subscribers }, () => new EventStream(`${nginx.url}/sub/${encodeURIComponent(channel)}`));
  streams.forEach(stream => stream.process.stdout.on('data', () => { stream.text = ''; }));
  let stopped = false;
  const send = () => new Promise(resolve => {
    const sent = request(`${nginx.url}/pub/${encodeURIComponent(channel)}`, { method: 'POST', agent }, answer => {
      answer.resume().on('end', resolve);
    });
    sent.on('error', resolve).end('{"what":"load"}');
  });
  const done = (async () => {
    while (!stopped) {
      await send();
      await sleep(10);
    }
  })();
  return async () => {
    stopped = true;
    await done;
    streams.forEach(stream => stream.stop());
    agent.destroy();
  };
}

const figures = async nginx => (await fetch(`${nginx.url}/status?format=json`)).json();
const tile = (page, name) => page.locator('#tiles > div', { hasText: name }).locator('dd').first().innerText();
const key = (page, chart, label) => page.locator('figure', { hasText: chart }).locator('.key', { hasText: label }).locator('b').innerText();

// How many points of a chart have the colour of this series, within what smoothing makes of it.
function painted(page, chart, series) {
  return page.locator('figure', { hasText: chart }).evaluate((figure, at) => {
    const canvas = figure.querySelector('canvas');
    const wanted = getComputedStyle(figure.querySelectorAll('.key')[at]).getPropertyValue('--key').trim();
    const [r, g, b] = [1, 3, 5].map(i => parseInt(wanted.slice(i, i + 2), 16));
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
      const near = Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 60;
      count += near && data[i + 3] > 100 ? 1 : 0;
    }
    return count;
  }, series);
}

test('charts, tiles and tables show the load', async t => {
  const nginx = await start();
  const page = await open(nginx);
  const stop = load(nginx, 'orders');
  t.after(stop);
  await eventually(async () => await painted(page, 'Messages in', 0) > 20, 'a line of what comes in');
  await eventually(async () => await painted(page, 'Messages out', 0) > 20, 'a line of what goes out');
  await eventually(async () => await painted(page, 'Delivery latency', 0) > 10, 'a line of latencies');
  await eventually(async () => await painted(page, 'Broker confirms', 1) > 10, 'a line of confirms');
  assert.match(await key(page, 'Messages in', 'HTTP'), /^[1-9][\d.,k]*\/s$/);
  assert.match(await key(page, 'Delivery latency', 'p99'), /^[\d.]+ (µs|ms|s)$/);
  assert.equal(await key(page, 'Connections', 'SSE'), String((await figures(nginx)).connections.sse));
  assert.match(await tile(page, 'Latency p99'), /^[\d.]+ (µs|ms|s)$/);
  assert.equal(await tile(page, 'Failures'), '0');
  const busiest = page.locator('section', { hasText: 'Busiest channels' }).locator('tbody tr');
  await eventually(async () => await busiest.count() === 1, 'the channel is in the table');
  assert.match(await busiest.first().innerText(), /^orders\t[\d.]+\t3\t/);
  const { worker_list: workers } = await figures(nginx);
  const rows = page.locator('section', { hasText: 'Workers' }).locator('tbody tr');
  assert.deepEqual((await rows.allInnerTexts()).map(row => Number(row.split('\t')[0])), workers.map(worker => worker.pid));
  assert.match(await rows.first().innerText(), /\t1\t\d+ s\tserving\t/);
  assert.match(await page.locator('section', { hasText: 'Brokers' }).locator('tbody tr').innerText(), /^events\tup\t/);
  assert.equal(await page.isVisible('#tabs'), false, 'neither watching nor publishing is allowed');
  await stop();
  await finish(nginx, page);
});

test('a hostile channel name is text, and the policy would stop it anyway', async t => {
  const nginx = await start({ permissions: 'watch' });
  const page = await open(nginx);
  const stop = load(nginx, Hostile, 1);
  t.after(stop);
  const button = page.locator('td button', { hasText: 'onerror' });
  await button.waitFor();
  assert.equal(await button.innerText(), Hostile);
  assert.equal(await button.locator('span').getAttribute('title'), Hostile, 'of which only some lines may be seen');
  await button.click();
  await page.locator('#events tr').first().waitFor();
  assert.match(await page.innerText('#watch-state'), /^watching <img/);
  assert.equal(await page.locator('main img, main script').count(), 0);
  assert.equal(await page.evaluate(() => window.hurt), undefined);

  const refused = await page.evaluate(() => {
    try {
      document.body.innerHTML = '<img src=x onerror="window.hurt=1">';
      return false;
    } catch {
      return true;
    }
  });
  assert.ok(refused, 'no markup is made from text');
  await page.evaluate(() => {
    const button = document.createElement('button');
    try {
      button.setAttribute('onclick', 'window.hurt=1');
    } catch { /* newer browsers refuse this already */ }
    document.body.append(button);
    button.click();
  });
  assert.equal(await page.evaluate(() => window.hurt), undefined);
  await stop();
  await finish(nginx, page, { allowed: /Content Security Policy|Trusted/ });
});

test('without trouble the console stays empty for a while', async () => {
  const nginx = await start({ permissions: 'watch publish' });
  const page = await open(nginx);
  await page.click('#tab-channel');
  await page.click('#tab-overview');
  await sleep(2500);
  await finish(nginx, page);
});

test('everything can be reached and used by keyboard', async t => {
  const nginx = await start({ permissions: 'watch publish' });
  const page = await open(nginx);
  const stop = load(nginx, 'orders', 1);
  t.after(stop);
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.value || document.activeElement.className);
  const reached = [];
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press('Tab');
    reached.push(await focused());
  }
  assert.deepEqual(reached, ['300', 'theme', 'tab-overview', 'plot', 'plot']);

  await page.focus('#range input');
  await page.keyboard.press('ArrowRight');
  assert.equal(await page.evaluate(() => document.querySelector('#range input:checked').value), '900');

  // A chart: its samples one by one, from the newest back.
  await eventually(async () => (await key(page, 'Messages in', 'HTTP')) !== '–', 'some samples');
  await sleep(2200);
  const plot = page.locator('.plot').first();
  await plot.focus();
  await page.keyboard.press('End');
  await page.keyboard.press('Home');
  assert.equal(await key(page, 'Messages in', 'HTTP'), '–', 'the first sample has no rate yet');
  await page.keyboard.press('Escape');

  await page.focus('#tab-overview');
  await page.keyboard.press('ArrowRight');
  assert.equal(await focused(), 'tab-channel');
  assert.equal(await page.isVisible('#watch'), true);
  assert.equal(await page.getAttribute('#tab-channel', 'aria-selected'), 'true');
  await page.focus('[name=channel]');
  await page.keyboard.type('orders');
  await page.keyboard.press('Enter');
  await page.locator('#events tr').first().waitFor();
  await page.focus('#tab-channel');
  await page.keyboard.press('Home');
  assert.equal(await page.isVisible('#charts'), true);
  await stop();
  await finish(nginx, page);
});

test('it is light or dark as the system is, or as one says', async () => {
  const nginx = await start();
  const page = await open(nginx, { colorScheme: 'dark' });
  const brightness = () => page.evaluate(() => {
    const [r, g, b] = getComputedStyle(document.documentElement).backgroundColor.match(/\d+/g).map(Number);
    return (r + g + b) / 3;
  });
  const isDark = () => eventually(async () => await brightness() < 60, 'it is dark');
  const isLight = () => eventually(async () => await brightness() > 200, 'it is light');
  await isDark();
  await page.emulateMedia({ colorScheme: 'light' });
  await isLight();
  await page.click('#theme'); // light
  await page.emulateMedia({ colorScheme: 'dark' });
  await isLight();
  await page.click('#theme'); // dark
  await page.emulateMedia({ colorScheme: 'light' });
  await isDark();
  await page.reload();
  await page.waitForSelector('#state[data-live]');
  assert.equal(await page.innerText('#theme'), 'Theme: dark');
  await isDark();
  await finish(nginx, page);
});

test('on a phone nothing is wider than the screen', async t => {
  const nginx = await start({ permissions: 'watch publish' });
  const page = await open(nginx, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  const stop = load(nginx, `a-channel-with-a-very-long-name-${'x'.repeat(150)}`, 1);
  t.after(stop);
  await page.locator('td button').first().waitFor();
  const width = () => page.evaluate(() => document.documentElement.scrollWidth);
  assert.equal(await width(), 360);
  for (const canvas of await page.locator('canvas').all()) {
    const box = await canvas.boundingBox();
    assert.ok(box.width > 250 && box.x + box.width <= 360, `a chart from ${box.x} on, ${box.width} wide`);
  }
  await page.locator('td button').first().tap();
  await page.locator('#events tr').first().waitFor();
  assert.equal(await width(), 360);
  const data = await page.locator('#events td').last().boundingBox();
  assert.ok(data.x + data.width <= 360, 'the data is seen without scrolling');
  await stop();
  await finish(nginx, page);
});

test('a channel is watched live, test events are published, and old rows go', async () => {
  const nginx = await start({ permissions: 'watch publish' });
  await post(`${nginx.url}/pub/news`, 'before');
  const page = await open(nginx);
  await page.click('#tab-channel');
  await page.fill('[name=channel]', 'news');
  await page.check('[name=history]');
  await page.click('#watch [type=submit]');
  const rows = page.locator('#events tr');
  const text = async i => (await rows.nth(i).innerText()).split('\t');
  await eventually(async () => await rows.count() === 1 && (await text(0)).at(-1) === 'before', 'the history');

  await page.fill('[name=event]', 'try <b>');
  await page.fill('[name=data]', `${Hostile}\nsecond line`);
  await page.click('#publish [type=submit]');
  await eventually(async () => await rows.count() === 2, 'the test event');
  assert.match(await page.innerText('#publish-state'), /^Published to 1 subscriber as \w+-2\.$/);
  const [, event, id, bytes, data] = await text(0);
  assert.equal(event, 'try <b>');
  assert.match(id, /-2$/);
  assert.equal(Number(bytes), Hostile.length + '\nsecond line'.length);
  assert.equal(data, `${Hostile}\nsecond line`);
  assert.equal(await page.evaluate(() => window.hurt), undefined);

  // A page that is told to resume misses nothing, whatever happens to the workers.
  nginx.reload();
  await sleep(300);
  await post(`${nginx.url}/pub/news`, 'after the reload');
  await eventually(async () => (await text(0)).at(-1) === 'after the reload', 'resumed');
  assert.equal(await rows.count(), 3);

  for (let i = 0; i < 230; i += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, j) => post(`${nginx.url}/pub/news`, `#${i + j}`)));
  }
  await eventually(async () => (await page.innerText('#watch-state')).includes('233 events'), 'all are counted');
  assert.equal(await rows.count(), 200);

  await page.click('#watch [type=submit]'); // stop
  await post(`${nginx.url}/pub/news`, 'unseen');
  assert.equal(await page.innerText('#watch-state'), 'not watching');
  await page.fill('[name=channel]', 'x');
  await page.selectOption('[name=app]', 'shop');
  await page.click('#publish [type=submit]');
  await eventually(async () => (await page.innerText('#publish-state')).startsWith('Published to 0 subscribers'), 'in the other app');
  await eventually(async () => (await figures(nginx)).busiest_channels.some(one => one.app === 'shop'), 'it is counted there');
  await finish(nginx, page, { allowed: /net::ERR/ });
});

test('after a worker dies and after a reload the page goes on', async t => {
  const nginx = await start();
  const page = await open(nginx);
  const stop = load(nginx, 'orders', 0);
  t.after(stop);
  await eventually(async () => await painted(page, 'Messages in', 0) > 20, 'a line');
  for (const worker of nginx.workers()) {
    await nginx.killWorker(worker);
  }
  const rows = page.locator('section', { hasText: 'Workers' }).locator('tbody tr');
  const shown = async () => (await rows.allInnerTexts()).map(row => row.split('\t'));
  await eventually(async () => {
    const workers = nginx.workers();
    return (await shown()).every(row => workers.includes(Number(row[0])));
  }, 'the successors are shown');
  nginx.reload();
  await eventually(async () => (await shown()).length === 2 && (await shown()).every(row => row[1] === '2'), 'the new generation is shown');
  await page.waitForSelector('#state[data-live]');
  await stop();
  await finish(nginx, page, { killed: true, allowed: /net::ERR/ });
});

test('trouble with a broker is said in words', async () => {
  const nginx = await start({ http: 'realtime_broker rabbit { server amqp://guest:guest@127.0.0.1:1/%2F; }' });
  const page = await open(nginx);
  await eventually(async () => await page.isVisible('#attention') &&
    /Broker rabbit is down: amqp:.*refused/.test(await page.innerText('#attention')), 'the trouble');
  const row = page.locator('section', { hasText: 'Brokers' }).locator('tbody tr', { hasText: 'rabbit' });
  await eventually(async () => /down.*127\.0\.0\.1:1.*refused/s.test(await row.innerText()), 'its last error');
  await finish(nginx, page);
});
