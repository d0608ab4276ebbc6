// Each feature of the protocol has a test here, and README.md says where: a test's name begins with the rows that it is of.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));

test('the table in README.md names, for each row, the files that have a test of it', () => {
  const files = new Map();
  for (const file of readdirSync(here).filter(name => name.endsWith('.test.js')).sort()) {
    for (const [, rows] of readFileSync(`${here}/${file}`, 'utf8').matchAll(/^test\('rows? ([\d, ]+): /gm)) {
      for (const row of rows.split(',').map(Number)) {
        files.set(row, (files.get(row) ?? new Set()).add(file.slice(0, -'.test.js'.length)));
      }
    }
  }
  const table = [...readFileSync(`${here}/README.md`, 'utf8').matchAll(/^\| (\d+) \|.*\| ([^|]*) \|$/gm)];
  assert.deepEqual(table.map(([, row]) => Number(row)), Array.from({ length: 65 }, (_, i) => i + 1));
  for (const [, row, where] of table) {
    assert.deepEqual(where.split(', '), [...files.get(Number(row)) ?? []], `row ${row}`);
  }
});
