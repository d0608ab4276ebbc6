// What a page loads: minified and gzipped, ours beside others' own minified builds.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';

const home = join(dirname(fileURLToPath(import.meta.url)), '../..');
const builds = {
  'nginx-realtime': 'dist/realtime.min.js',
  'pusher-js': 'node_modules/pusher-js/dist/web/pusher.min.js',
  'socket.io-client': 'node_modules/socket.io-client/dist/socket.io.min.js',
  centrifuge: 'node_modules/centrifuge/dist/centrifuge.js',
};

export function sizes() {
  return Object.entries(builds).map(([name, path]) => {
    const manifest = name === 'nginx-realtime' ? 'package.json' : `node_modules/${name}/package.json`;
    const bytes = readFileSync(join(home, path));
    return { name, version: JSON.parse(readFileSync(join(home, manifest), 'utf8')).version, minified: bytes.length,
      gzipped: gzipSync(bytes, { level: 9 }).length };
  });
}

export const table = rows => rows.map(({ name, version, minified, gzipped }) =>
  `${`${name} ${version}`.padEnd(26)} ${String(minified).padStart(7)} B minified ${String(gzipped).padStart(6)} B gzipped`).join('\n');

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  console.log(table(sizes()));
}
