// The chat example, nginx-conf-examples/chat.conf, in tabs of Chromium: with its page, its application and this client.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launch } from '../../tests/browser/support/chromium.js';
import { eventually, freePort, Nginx, root } from '../../tests/browser/support/nginx.js';

let browser;
before(async () => { browser = await launch(); });
after(() => browser.close());

async function start(t) {
  const directory = mkdtempSync(join(tmpdir(), 'realtime-chat.'));
  const secret = join(directory, 'chat.secret');
  writeFileSync(secret, 'a secret of the test\n');
  const port = await freePort();
  const server = spawn(process.execPath, [join(root, 'nginx-conf-examples/chat-server.mjs'), secret, port], { stdio: 'inherit' });
  t.after(() => {
    server.kill();
    rmSync(directory, { recursive: true });
  });
  const nginx = await Nginx.start('chat.conf', {
    change: text => text.replace('root www;', `root ${join(root, 'client/dist')};`)
      .replace('chat.secret;', `${secret};`).replace('127.0.0.1:3000', `127.0.0.1:${port}`),
  });
  t.after(() => nginx.process.kill());
  await eventually(() => fetch(`${nginx.url}/chat/me`).then(answer => answer.ok, () => false), 'the application answers');
  return nginx;
}

// A tab of somebody's own browser, who enters the room.
async function enter(t, nginx, name) {
  const context = await browser.newContext();
  t.after(() => context.close());
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', error => page.problems.push(String(error)));
  page.on('console', message => message.type() === 'error' && page.problems.push(message.text()));
  await page.goto(nginx.url);
  await page.fill('#name', name);
  await page.press('#name', 'Enter');
  await page.waitForSelector('#state[data-live]');
  return page;
}

const texts = (page, selector) => page.$$eval(selector, found => found.map(one => one.textContent));
// Names without the numbers behind them.
const members = page => page.$$eval('#members .who', found => found.map(one => one.firstChild.textContent).sort());
const shows = (page, text) => eventually(async () => (await texts(page, '#feed li')).some(line => line.includes(text)),
  async () => `${text}; there is ${await texts(page, '#feed li')}`);

test('two tabs see each other come, talk and go; what is said is text, and its author is nginx\'s word', async t => {
  const nginx = await start(t);
  const alice = await enter(t, nginx, 'alice');
  await eventually(async () => (await members(alice)).join() === 'alice', 'alice is alone');
  const bob = await enter(t, nginx, '<b>bob</b>');
  for (const page of [alice, bob]) {
    await eventually(async () => (await members(page)).join() === '<b>bob</b>,alice', 'both are here');
  }
  await shows(alice, 'has come');

  const markup = '<img src=x onerror="window.hurt = 1"> hello';
  await bob.fill('#text', markup);
  await bob.press('#text', 'Enter');
  await shows(alice, markup);
  await shows(bob, markup);
  await alice.fill('#text', 'hello yourself');
  await alice.press('#text', 'Enter');
  await shows(bob, 'hello yourself');
  const authors = await bob.$$eval('#feed li .who', found => found.map(one => one.firstChild.textContent));
  assert.ok(authors.includes('alice') && authors.includes('<b>bob</b>'));
  for (const page of [alice, bob]) {
    assert.equal(await page.$('#feed img, #feed b, #members b'), null);
    assert.equal(await page.evaluate(() => window.hurt), undefined);
  }
  if (process.env.REALTIME_SCREENSHOT) {
    await bob.screenshot({ path: process.env.REALTIME_SCREENSHOT });
  }

  await bob.context().close();
  await eventually(async () => (await members(alice)).join() === 'alice', 'bob has gone');
  await shows(alice, 'has gone');

  const carol = await enter(t, nginx, 'carol');
  await shows(carol, markup); // what was said before
  await shows(carol, 'hello yourself');
  await eventually(() => JSON.parse(nginx.query("select data from events where event = 'said'")).length === 2, 'it is stored');
  for (const page of [alice, carol]) {
    assert.deepEqual(page.problems, []);
    await page.context().close();
  }
  assert.deepEqual(await nginx.stop(), []);
});

test('who is not logged in enters no room', async t => {
  const nginx = await start(t);
  const ask = headers => fetch(`${nginx.url}/chat/auth`, { method: 'POST', headers,
    body: JSON.stringify({ socket_id: '1.2', channel_name: 'presence-lobby' }) });
  assert.equal((await ask({ 'Content-Type': 'application/json' })).status, 403);
  assert.equal((await ask({ 'Content-Type': 'application/json', Cookie: `chat=YQ.${'0'.repeat(64)}` })).status, 403);
  const login = await fetch(`${nginx.url}/chat/login`, { method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'dave' }) });
  const cookie = login.headers.get('set-cookie').split(';', 1)[0];
  assert.equal((await ask({ 'Content-Type': 'application/json', Cookie: cookie })).status, 200);
  assert.deepEqual(await nginx.stop(), []);
});
