// What the tests of a page share: one Chromium, and the servers that are ended when a failed test has left them.
import { after, before } from 'node:test';
import { launch } from './chromium.js';

export let browser;
export const started = [];

before(async () => { browser = await launch(); });
after(async () => {
  started.forEach(nginx => nginx.process.kill());
  await browser.close();
});
