// What is delivered: its size, its forms, its types.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { sizes, table } from './support/sizes.js';

const home = join(dirname(fileURLToPath(import.meta.url)), '..');

test('it weighs less than 5 KiB, and the others several times that', t => {
  const [own, ...others] = sizes();
  console.log(table([own, ...others]));
  assert.ok(own.gzipped < 5 * 1024, `${own.gzipped} bytes`);
  others.forEach(({ name, gzipped }) => assert.ok(gzipped > 2 * own.gzipped, name));
  t.diagnostic(`${own.gzipped} of 5120 bytes`);
});

test('it has no dependency', () => {
  const { dependencies, peerDependencies } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  assert.deepEqual([dependencies, peerDependencies], [undefined, undefined]);
});

test('it is an ES module, CommonJS and a script', async () => {
  const names = ['RealtimeError', 'connect'];
  assert.deepEqual(Object.keys(await import('nginx-realtime')).sort(), names);
  assert.deepEqual(Object.keys(createRequire(import.meta.url)('nginx-realtime')).sort(), names);
  const page = {};
  runInNewContext(readFileSync(join(home, 'dist/realtime.min.js'), 'utf8'), page);
  assert.deepEqual(Object.keys(page.realtime).sort(), names);
});

test('a program that uses its types compiles, and one that misuses them does not', () => {
  const complaints = file => {
    try {
      execFileSync(process.execPath, [join(home, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--module', 'nodenext',
        '--lib', 'es2022,dom', join(home, 'test/types', file)], { encoding: 'utf8' });
      return [];
    } catch (error) {
      return error.stdout.split('\n').filter(line => line.includes('error TS'));
    }
  };
  assert.deepEqual(complaints('good.ts'), []);
  assert.deepEqual(complaints('good.cts'), []);
  const lines = readFileSync(join(home, 'test/types/bad.ts'), 'utf8').split('\n');
  const wrong = lines.flatMap((line, index) => (line.endsWith('// wrong') ? [index + 1] : []));
  assert.deepEqual(complaints('bad.ts').map(line => Number(/\((\d+),/.exec(line)[1])), wrong);
});
