// nginx with the module, in a directory of its own.
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');
const nginxPath = process.env.REALTIME_TEST_NGINX ?? '/usr/sbin/nginx'; // one of scripts/nginx-asan, say
const sanitizers = { ASAN_OPTIONS: 'detect_leaks=0:exitcode=99:quarantine_size_mb=32', UBSAN_OPTIONS: 'print_stacktrace=1' };
export const modulePath = process.env.REALTIME_TEST_MODULE ?? join(root, 'build/ngx_http_realtime_module.so');

// Asks again and again; fails after `patience` milliseconds. `what` is the wish, or a function that tells it then.
export async function eventually(condition, what, patience = 15000) {
  const deadline = Date.now() + patience;
  for (;;) {
    const value = await condition();
    if (value) {
      return value;
    }
    if (Date.now() > deadline) {
      throw new Error(`not in time: ${typeof what === 'function' ? what() : what}`);
    }
    await sleep(20);
  }
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export class Nginx {
  // One of the examples; `change(text, nginx)` may edit the text of the configuration.
  static start(example, { workers = 2, change = text => text } = {}) {
    return Nginx.run(nginx => change(readFileSync(join(root, 'nginx-conf-examples', example), 'utf8')
      .replace('modules/ngx_http_realtime_module.so', modulePath)
      .replace('worker_processes auto;', `worker_processes ${workers};`)
      .replaceAll('/var/lib/nginx-realtime/', `${join(nginx.directory, 'data')}/`)
      .replace('listen 8080;', `listen 127.0.0.1:${nginx.port} reuseport;`)
      .replace(/root +www;/, `root ${join(root, 'nginx-conf-examples/www')};`), nginx), workers);
  }

  // `configuration` gives the text, from the port to listen on and the directory.
  static async run(configuration, workers = 2) {
    const nginx = new Nginx();
    nginx.directory = mkdtempSync(join(tmpdir(), 'realtime-browser.'));
    nginx.port = await freePort();
    nginx.url = `http://127.0.0.1:${nginx.port}`;
    nginx.workerCount = workers;
    chmodSync(nginx.directory, 0o755);
    mkdirSync(join(nginx.directory, 'data'));
    writeFileSync(join(nginx.directory, 'nginx.conf'), configuration(nginx));
    const asRoot = process.getuid() === 0 ? ' user root;' : '';
    nginx.process = spawn(nginxPath, ['-p', nginx.directory, '-e', 'error.log', '-c',
      join(nginx.directory, 'nginx.conf'), '-g', `daemon off;${asRoot}`], { stdio: 'ignore', env: { ...sanitizers, ...process.env } });
    nginx.exited = new Promise(resolve => nginx.process.on('exit', resolve));
    await eventually(async () => {
      if (nginx.process.exitCode !== null) {
        throw new Error(`nginx did not start: ${nginx.errorLog()}`);
      }
      return nginx.workers().length === workers && fetch(nginx.url).then(() => true, () => false);
    }, 'nginx accepts');
    return nginx;
  }

  errorLog() {
    const path = join(this.directory, 'error.log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  workers() {
    const pid = this.process.pid;
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);
  }

  async killWorker(pid) {
    process.kill(pid, 'SIGKILL');
    await eventually(() => !this.workers().includes(pid) && this.workers().length >= this.workerCount, 'a successor');
  }

  reload() {
    process.kill(this.process.pid, 'SIGHUP');
  }

  query(sql) {
    return execFileSync('sqlite3', ['-json', join(this.directory, 'data/events.db'), sql], { encoding: 'utf8' });
  }

  // Ends it and leaves its directory.
  async end() {
    process.kill(this.process.pid, 'SIGTERM');
    await this.exited;
  }

  // Resolves to the lines of the error log that nobody should ever see. What sanitizers report goes there, too.
  async stop({ killed = false } = {}) {
    await this.end();
    const bad = this.errorLog().split('\n')
      .filter(line => /\[(alert|emerg|crit)\]|Sanitizer|runtime error:/.test(line))
      .filter(line => !(killed && line.includes('exited on signal 9')));
    rmSync(this.directory, { recursive: true });
    return bad;
  }
}
