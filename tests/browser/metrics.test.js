// The dashboard on EventSource, nginx-conf-examples/sse-dashboard.conf, in Chromium: TLS and HTTP/2 as it is there.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually, Nginx } from './support/nginx.js';
import { browser, started } from './support/session.js';

async function start() {
  const nginx = await Nginx.start('sse-dashboard.conf', {
    change: (text, { directory, port }) => {
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
        '-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem')], { stdio: 'ignore' });
      writeFileSync(join(directory, 'htpasswd'), 'collector:{PLAIN}secret\n');
      return text.replaceAll('/etc/nginx/realtime/', `${directory}/`).replace('listen 8443', `listen 127.0.0.1:${port}`);
    },
  });
  nginx.url = nginx.url.replace('http:', 'https:');
  started.push(nginx);
  return nginx;
}

const publish = (nginx, metric, value) => execFileSync('curl', ['-sS', '--fail', '--max-time', '10', '-k',
  '-u', 'collector:secret', '-d', value, `${nginx.url}/metrics/${metric}`]);

const shown = (page, metric) => page.$$eval('figure', (figures, name) =>
  figures.find(one => one.querySelector('figcaption').textContent === name).querySelector('output').textContent, metric);

test('more figures than HTTP/1.1 has connections come live over one, and go on after a worker is killed', async () => {
  const nginx = await start();
  const metrics = Array.from({ length: 9 }, (_, n) => `metric-${n}`);
  publish(nginx, 'metric-0', '1000');
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 900, height: 560 } });
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', error => problems.push(String(error)));
  await page.goto(`${nginx.url}/?${metrics.map(name => `metric=${name}`).join('&')}`);
  await page.waitForFunction(count => document.querySelectorAll('figure[data-live]').length === count, metrics.length);
  assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
  await eventually(async () => await shown(page, 'metric-0') === (1000).toLocaleString('en'), 'what was before');
  for (const name of metrics) {
    [3, 8, 5, 9, 4].forEach(value => publish(nginx, name, String(value)));
  }
  publish(nginx, 'metric-1', '<b>no figure</b>');
  publish(nginx, 'metric-1', '7.5');
  await eventually(async () => await shown(page, 'metric-8') === '4' && await shown(page, 'metric-1') === '7.5', 'the last values');
  assert.equal(await page.$('#metrics b'), null);
  const points = await page.$eval('polyline', curve => curve.getAttribute('points').split(' ').length);
  assert.equal(points, 6);
  if (process.env.REALTIME_SCREENSHOT) {
    await page.screenshot({ path: process.env.REALTIME_SCREENSHOT });
  }

  for (const worker of nginx.workers()) {
    await nginx.killWorker(worker);
  }
  publish(nginx, 'metric-8', '11');
  await eventually(async () => await shown(page, 'metric-8') === '11', 'it goes on');
  assert.deepEqual(problems, []);
  await context.close();
  assert.deepEqual(await nginx.stop({ killed: true }), []);
});
