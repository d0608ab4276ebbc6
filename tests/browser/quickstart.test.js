// The quickstart page in Chromium: what a visitor does reaches everyone, and nothing is lost on the way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventStream, post } from './support/curl.js';
import { eventually, Nginx } from './support/nginx.js';
import { browser, started } from './support/session.js';

async function start(options) {
  const nginx = await Nginx.start('quickstart.conf', options);
  started.push(nginx);
  return nginx;
}

async function open(nginx) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.problems = [];
  page.foreign = [];
  page.on('pageerror', error => page.problems.push(String(error)));
  page.on('request', request => {
    if (!request.url().startsWith(nginx.url) && !request.url().startsWith('data:')) {
      page.foreign.push(request.url());
    }
  });
  await page.goto(nginx.url);
  await page.waitForSelector('#state[data-live]');
  return page;
}

// The rows of the feed, oldest first.
function rows(page) {
  return page.$$eval('#feed li', list => list.reverse().map(row => ({
    who: row.querySelector('.who')?.textContent,
    kind: row.querySelector('.kind')?.textContent,
    what: row.querySelector('.what')?.textContent ?? row.textContent,
  })));
}

function shows(page, wanted, what) {
  return eventually(async () => (await rows(page)).find(wanted), what);
}

async function finish(nginx, pages, options) {
  for (const page of pages) {
    assert.deepEqual(page.problems, []);
    assert.deepEqual(page.foreign, []);
    await page.context().close();
  }
  assert.deepEqual(await nginx.stop(options), []);
}

test('the feed shows what curl publishes, as text and never as markup', async () => {
  const nginx = await start();
  const page = await open(nginx);
  await post(`${nginx.url}/pub/visitors`, 'hello from curl');
  await shows(page, row => row.what === 'hello from curl' && row.kind === 'message', 'the message');
  const markup = '<img src=x onerror="window.hurt = 1"><b>bold</b>';
  await post(`${nginx.url}/pub/visitors?event=say`, JSON.stringify({ visitor: '<i>me</i>', what: markup }));
  const row = await shows(page, one => one.what === markup, 'the markup as text');
  assert.equal(row.who, '<i>me</i>');
  assert.equal(await page.$('#feed img, #feed b, #feed i'), null);
  assert.equal(await page.evaluate(() => window.hurt), undefined);
  await finish(nginx, [page]);
});

test('a visitor, another visitor and curl see the same', async t => {
  const nginx = await start();
  const curl = new EventStream(`${nginx.url}/sub/visitors?since=earliest`);
  t.after(() => curl.stop());
  const alice = await open(nginx);
  const bob = await open(nginx);
  await shows(alice, row => row.kind === 'view' && row.who !== 'you', "bob's view");

  await alice.fill('#text', 'hi <all>');
  await alice.press('#text', 'Enter');
  await shows(bob, row => row.kind === 'say' && row.what === 'hi <all>' && row.who !== 'you', 'what alice said');
  await shows(alice, row => row.kind === 'say' && row.who === 'you', 'and alice, too');
  await curl.shows('"what":"hi <all>"');

  await bob.click('text=Another one');
  await shows(alice, row => row.kind === 'click' && row.what.startsWith('Another one at'), "bob's click");
  await curl.shows('event: click');

  await bob.keyboard.press('Escape');
  await shows(alice, row => row.kind === 'key' && row.what === 'Escape', "bob's key");
  await alice.press('#text', 'q');
  await shows(bob, row => row.kind === 'key' && row.what === 'in the text field', 'a key, but not which');
  assert.ok(!curl.text.includes('"what":"q"'), 'what is typed into a field stays there');

  // All of it is stored, as SQL says.
  await eventually(() => {
    const kinds = JSON.parse(nginx.query('select event, count(*) as n from events group by event'));
    const count = kind => kinds.find(row => row.event === kind)?.n ?? 0;
    return count('view') === 2 && count('say') === 1 && count('click') === 1 && count('key') >= 3;
  }, 'the events are stored');
  await finish(nginx, [alice, bob]);
});

test('the first visitor is counted, and sees the own view', async () => {
  const nginx = await start();
  const page = await open(nginx);
  await shows(page, row => row.kind === 'view' && row.who === 'you', 'the view');
  await eventually(async () => await page.innerText('#count') === '1 connection', 'who has come is counted');
  await nginx.reload();
  await page.waitForSelector('#state[data-live]');
  assert.equal((await rows(page)).filter(row => row.kind === 'view').length, 1);
  await finish(nginx, [page]);
});

test('a visitor who comes late sees what was before', async () => {
  const nginx = await start();
  await post(`${nginx.url}/pub/visitors`, 'before anyone came');
  const page = await open(nginx);
  await shows(page, row => row.what === 'before anyone came', 'the history');
  await finish(nginx, [page]);
});

// Publishes 0, 1, 2 … until told to stop; a request that a dying worker took along is repeated with its key.
function counting(nginx) {
  let stop = false;
  const done = (async () => {
    let count = 0;
    for (; !stop; ++count) {
      const key = `Idempotency-Key: count-${count}`;
      await eventually(() => post(`${nginx.url}/pub/visitors`, `#${count}`, [key]).then(() => true, () => false),
        `number ${count} is published`);
      await sleep(20);
    }
    return count;
  })();
  return () => { stop = true; return done; };
}

async function remember(page) {
  // The feed forgets old rows: keep all of it for this test.
  await page.evaluate(() => {
    const feed = document.getElementById('feed');
    window.all = [];
    new MutationObserver(changes => {
      for (const change of changes) {
        for (const node of change.addedNodes) {
          window.all.push(node.querySelector('.what')?.textContent ?? node.textContent);
        }
      }
    }).observe(feed, { childList: true });
  });
}

test('after kill -9 of each worker the page reconnects and misses nothing', async () => {
  const nginx = await start();
  const page = await open(nginx);
  await remember(page);
  const finishCounting = counting(nginx);
  for (const worker of nginx.workers()) {
    await nginx.killWorker(worker);
  }
  await page.waitForSelector('#state[data-live]');
  const count = await finishCounting();
  await eventually(() => page.evaluate(last => window.all.includes(last), `#${count - 1}`), 'the last one', 30000);
  const numbers = (await page.evaluate(() => window.all)).filter(what => what.startsWith('#'));
  assert.deepEqual(numbers, Array.from({ length: count }, (_, i) => `#${i}`));
  // And every one of them is stored.
  await eventually(() => {
    const stored = JSON.parse(nginx.query("select distinct data from events where data like '#%'"));
    return stored.length === count;
  }, 'all are stored');
  await finish(nginx, [page], { killed: true });
});

test('after a reload the page reconnects and misses nothing', async () => {
  const nginx = await start({
    change: text => text.replace('realtime_zone main 32m;', 'realtime_zone main 32m; realtime_drain 1s;'),
  });
  const page = await open(nginx);
  await remember(page);
  const old = nginx.workers();
  const finishCounting = counting(nginx);
  nginx.reload();
  await eventually(() => nginx.workers().every(pid => !old.includes(pid)), 'the old workers end');
  await page.waitForSelector('#state[data-live]');
  const count = await finishCounting();
  await eventually(() => page.evaluate(last => window.all.includes(last), `#${count - 1}`), 'the last one', 30000);
  const numbers = (await page.evaluate(() => window.all)).filter(what => what.startsWith('#'));
  assert.deepEqual(numbers, Array.from({ length: count }, (_, i) => `#${i}`));
  await finish(nginx, [page]);
});
