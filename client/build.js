// dist/: an ES module, CommonJS, and a script that makes `realtime` global; minified. Types come from tsc.
import { build } from 'esbuild';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const common = {
  entryPoints: ['src/index.ts'],
  bundle: true,
  minify: true,
  target: 'es2022',
  mangleProps: /[a-z]_$/,
  banner: { js: `/*! nginx-realtime ${version} BSD-2-Clause */` },
  sourcemap: 'external',
};

await build({ ...common, format: 'esm', outfile: 'dist/index.js' });
await build({ ...common, format: 'cjs', outfile: 'dist/index.cjs' });
await build({ ...common, entryPoints: ['src/script.ts'], format: 'iife', outfile: 'dist/realtime.min.js' });

// The types of what is exported, for both kinds of module.
for (const name of ['index', 'errors', 'types']) {
  writeFileSync(`dist/${name}.d.cts`, readFileSync(`dist/${name}.d.ts`, 'utf8').replaceAll(".js'", ".cjs'"));
}
for (const name of ['client', 'events', 'http', 'link', 'queue', 'script', 'socket']) {
  rmSync(`dist/${name}.d.ts`, { force: true });
}
