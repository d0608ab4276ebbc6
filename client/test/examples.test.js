// The examples in Chromium: each shows what is published elsewhere, and what its own button publishes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch } from '../../tests/browser/support/chromium.js';
import { app, client, open } from './support/shop.js';

const examples = join(dirname(fileURLToPath(import.meta.url)), '../examples');
let browser;

before(async () => {
  assert.ok(existsSync(join(examples, 'node_modules')), 'npm ci in client/examples comes before');
  execFileSync(process.execPath, [join(examples, 'build.js')], { stdio: 'inherit' });
  browser = await launch();
});
after(() => browser?.close());

for (const name of ['react', 'vue', 'angular']) {
  test(`${name} shows what arrives, also after it was offline`, async t => {
    const shop = await open(t, { files: join(examples, 'dist') });
    const context = await browser.newContext();
    t.after(() => context.close());
    const page = await context.newPage();
    const problems = [];
    page.on('pageerror', error => problems.push(String(error)));
    page.on('console', message => message.type() === 'error' && problems.push(message.text()));
    await page.goto(`${shop.url}/files/${name}.html?url=/app/${app.key}`);
    await page.waitForSelector('main[data-state=connected]');
    await page.click('button');
    await page.waitForSelector('li:nth-child(1)');
    await context.setOffline(true);
    await page.waitForSelector('main[data-state=offline]');
    await client(t, shop).publish('orders', 'created', { text: 'from elsewhere' });
    await page.click('button');
    await context.setOffline(false);
    await page.waitForSelector('li:nth-child(3)');
    const own = `from ${name[0].toUpperCase()}${name.slice(1)}`;
    assert.deepEqual(await page.locator('li').allTextContents(), [own, 'from elsewhere', own]);
    assert.deepEqual(problems.filter(problem => !problem.includes('ERR_INTERNET_DISCONNECTED')), []);
  });
}
