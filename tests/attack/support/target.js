// What is attacked: nginx with several workers and all its doors, a RabbitMQ of its own, an SQLite store, and a small server
// behind it for subrequests. All that is started here is ended by close(), by its process id.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { signedQuery } from '../../clients/support/rest.js';
import { eventually, freePort, modulePath, Nginx, root } from '../../browser/support/nginx.js';

export const app = { id: 'shop', key: 'shopkey', secret: 'shopsecret' };
export const strangers = { id: 'strangers', key: 'strangerskey', secret: 'strangerssecret' };
export const channels = ['good-1', 'good-2', 'good-3', 'good-4', 'good-5']; // of those who behave; the last is ordered
export const workerCount = 4;
const run = promisify(execFile);
const rabbitScript = join(root, 'tests/integration/rabbitmq.sh');

// Locations that have another module between the subscriber and the socket, or beside them.
export const oddPlaces = {
  mirror: 'mirror /behind-us;',
  before: 'add_before_body /comment;',
  after: 'add_after_body /comment;',
  ssi: 'ssi on; ssi_types *;',
  subst: 'sub_filter a bb; sub_filter_types *; sub_filter_once off;',
  limited: 'limit_rate 2k;',
  gzip: 'gzip on; gzip_types *; gzip_min_length 1;',
  auth: 'auth_request /behind-us;',
  charset: 'charset utf-8; source_charset koi8-r; charset_types *;',
  counted: 'limit_conn each 200;',
  real: 'set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;',
};

function locations(target) {
  const odd = Object.entries(oddPlaces).flatMap(([name, lines]) => [
    `location ~ ^/${name}/sub/(?<ch>.+)$ { ${lines} realtime_subscribe $ch app=shop; }`,
    `location ~ ^/${name}/ws/(?<ch>.+)$ { ${lines} realtime_pubsub $ch app=shop; }`,
    `location ~ ^/${name}/pub/(?<ch>.+)$ { ${lines} realtime_publish $ch app=shop ack=stored; }`,
  ]);
  return `
    location = /good { realtime_subscribe ${channels.slice(0, 4).join(' ')} app=shop; }
    location = /good/mirror { ${oddPlaces.mirror} realtime_subscribe ${channels.slice(0, 4).join(' ')} app=shop; }
    location = /good/auth { ${oddPlaces.auth} realtime_subscribe ${channels.slice(0, 4).join(' ')} app=shop; }
    location = /good/counted { ${oddPlaces.counted} realtime_subscribe ${channels.slice(0, 4).join(' ')} app=shop; }
    location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch app=shop event=$arg_e; }
    location ~ ^/stored/(?<ch>.+)$ { realtime_publish $ch app=shop ack=stored; }
    location ~ ^/broker/(?<ch>.+)$ { realtime_publish $ch app=shop ack=broker; }
    location ~ ^/sub/(?<ch>.+)$ { realtime_subscribe $ch app=shop; }
    location ~ ^/ws/(?<ch>.+)$ { realtime_pubsub $ch app=shop; }
    location ~ ^/quiet/(?<ch>.+)$ { realtime_subscribe $ch app=shop; }
    location ~ ^/slowly/(?<ch>.+)$ { realtime_pubsub $ch app=shop rate=5r/s echo=off; }
    location ~ ^/deflated/(?<ch>.+)$ { realtime_deflate on; realtime_pubsub $ch app=shop; }
    location ~ ^/strangers/(?<ch>.+)$ { realtime_pubsub $ch app=strangers; }
    location = /crowd { realtime_subscribe ${Array.from({ length: 300 }, (_, n) => `crowd-${n}`).join(' ')} app=shop; }
    location /many/ { realtime_subscribe $arg_a $arg_b $arg_c $arg_d app=shop; }
    location ~ ^/proxied/(.*)$ { proxy_buffering off; proxy_http_version 1.1; proxy_pass http://127.0.0.1:${target.ports.plain}/$1$is_args$args;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; }
    location ~ ^/accel/ { proxy_pass http://127.0.0.1:${target.ports.upstream}; }
    location = /behind-us { internal; proxy_pass http://127.0.0.1:${target.ports.upstream}; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; }
    location = /comment { internal; proxy_pass http://127.0.0.1:${target.ports.upstream}; }
    location /app/ { realtime_pusher websocket; }
    location /apps/ { realtime_pusher api; }
    location = /status { realtime_status watch publish; }
    ${odd.join('\n    ')}`;
}

// `variant` counts the reloads: what an operator may change changes with it.
function configuration(target, variant) {
  const {
    ports,
    nginx: { directory },
  } = target;
  return `load_module ${modulePath};
worker_processes ${workerCount};
worker_rlimit_nofile 8192;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log notice;
env ASAN_OPTIONS; env UBSAN_OPTIONS;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  scgi_temp_path ${directory}/scgi;
  uwsgi_temp_path ${directory}/uwsgi;
  keepalive_requests 1000000;
  send_timeout 5s;
  client_header_timeout 5s;
  client_body_timeout 5s;
  charset_map koi8-r utf-8 { 80 E282AC; }
  limit_conn_zone $binary_remote_addr zone=each:1m;
  realtime_zone main 128m;
  realtime_zone small 1m;
  realtime_ping 2s;
  realtime_timeout ${6 + (variant % 2)}s;
  realtime_drain 2s;
  realtime_buffer ${variant % 3 === 0 ? '1m' : '768k'};
  realtime_broker events {
    server amqp://guest:guest@127.0.0.1:${ports.rabbit}/%2F;
    queue realtime.events bind=#;
    queue attack.good bind=good-2;
    spool ${directory}/data/spool;
    confirm 5s;
  }
  realtime_broker ordered {
    server amqp://guest:guest@127.0.0.1:${ports.rabbit}/%2F;
    exchange attack.ordered topic;
    queue attack.stream stream;
    spool ${directory}/data/ordered;
    confirm 5s;
  }
  realtime_broker lite { server sqlite:${directory}/data/events.db; }
  realtime_app ${app.id} {
    key ${app.key}; secret ${app.secret};
    ${variant % 2 === 0 ? '' : 'key rotated; secret rotatedsecret;'}
    client_events on; subscription_count on; watchlist on; presence_limits 200 1k;
    webhook http://127.0.0.1:${ports.upstream}/hook events=channel_existence,presence,client_events,cache_channels,subscription_count;
    channels good-2 { broker events; history 100000 10m; }
    channels good-3 { broker lite; history 100000 10m; }
    channels good-5 { broker ordered; deliver broker; history 100000 10m; }
    channels ordered.* { broker ordered; deliver broker; history 100000 10m; }
    channels good-* { history 100000 10m; client_publish on; }
    channels rabbit.* { broker events; }
    channels lite.* { broker lite; }
    channels open.* { client_publish on rate=200r/s; }
    channels long.* { history 100000 10m; }
    channels none.* { history off; }
  }
  realtime_app ${strangers.id} {
    key ${strangers.key}; secret ${strangers.secret}; zone small;
    client_events on rate=100r/s; max_connections 50; max_channels 100000; presence_limits 1000 8k;
    channels * { client_publish on; }
  }
  realtime_app closed { key closedkey; secret closedsecret; disabled on; }
  server {
    listen 127.0.0.1:${ports.plain} backlog=1024;
    listen 127.0.0.1:${ports.narrow} sndbuf=8k;
    listen 127.0.0.1:${ports.h2} http2;
    listen 127.0.0.1:${ports.h2narrow} http2 sndbuf=8k;
    listen 127.0.0.1:${ports.tls} ssl http2;
    ssl_certificate ${directory}/data/cert.pem;
    ssl_certificate_key ${directory}/data/key.pem;
    ${locations(target)}
  }
}
`;
}

// What stands behind nginx: answers soon, late, or not at all.
function upstream(port) {
  const server = http.createServer((request, response) => {
    request.resume();
    request.on('error', () => {});
    response.on('error', () => {});
    const path = request.url;
    if (path.startsWith('/accel/')) {
      response.writeHead(200, { 'X-Accel-Redirect': `/pub/accel-${path.slice(7, 20)}` }).end();
    } else if (path.startsWith('/comment')) {
      response.end(': beside\n\n');
    } else {
      const late = [0, 5, 50, 400][server.answered++ % 4];
      setTimeout(() => response.end('ok'), late).unref();
    }
  });
  server.answered = 0;
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}

export class Target {
  killed = new Set(); // workers that were killed on purpose
  #variant = 0;

  static async start() {
    const target = new Target();
    target.rabbitDirectory = mkdtempSync(join(tmpdir(), 'realtime-attack.'));
    try {
      target.ports = { rabbit: Number((await target.#rabbit('start')).trim()) };
      for (const name of ['plain', 'narrow', 'h2', 'h2narrow', 'tls', 'upstream']) {
        target.ports[name] = await freePort();
      }
      target.upstream = await upstream(target.ports.upstream);
      target.nginx = await Nginx.run(nginx => {
        target.nginx = nginx;
        nginx.port = target.ports.plain;
        nginx.url = `http://127.0.0.1:${nginx.port}`;
        certificate(join(nginx.directory, 'data'));
        return configuration(target, 0);
      }, workerCount);
    } catch (error) {
      await target.close();
      throw error;
    }
    return target;
  }

  // --- what happens to it ------------------------------------------------------------------------------------------

  // Another configuration; resolves when its workers serve.
  async reload() {
    const before = this.nginx.workers();
    const path = join(this.nginx.directory, 'nginx.conf');
    writeFileSync(`${path}.new`, configuration(this, ++this.#variant));
    renameSync(`${path}.new`, path); // nginx may be reading it
    this.nginx.reload();
    await eventually(
      () => this.nginx.workers().filter(pid => !before.includes(pid)).length >= workerCount,
      'new workers',
      60_000,
    );
  }

  async killWorker(random) {
    const pid = random.pick(this.serving());
    if (pid === undefined) {
      return;
    }
    this.killed.add(pid);
    process.kill(pid, 'SIGKILL');
    await eventually(
      () => !this.nginx.workers().includes(pid) && this.serving().length >= workerCount,
      'a successor',
      60_000,
    );
  }

  async restartRabbit() {
    await this.#rabbit('kill');
    await this.#rabbit('start');
  }

  async pauseRabbit(milliseconds) {
    await this.#rabbit('pause');
    await new Promise(resolve => {
      setTimeout(resolve, milliseconds);
    });
    await this.#rabbit('resume');
  }

  #rabbit(command, ...rest) {
    return run(rabbitScript, [command, this.rabbitDirectory, ...rest]).then(({ stdout }) => stdout);
  }

  // --- what is seen of it ------------------------------------------------------------------------------------------

  // Workers that are not on their way out.
  serving() {
    return this.nginx.workers().filter(pid => title(pid) === 'nginx: worker process');
  }

  leaving() {
    return this.nginx.workers().filter(pid => title(pid).includes('shutting down'));
  }

  // KiB of memory that is a process's own: the zones are shared.
  memory() {
    return this.serving().map(pid => Number(/^RssAnon:\s+(\d+)/m.exec(proc(pid, 'status'))?.[1] ?? 0));
  }

  descriptors() {
    return [this.nginx.process.pid, ...this.serving()].map(pid => {
      try {
        return readdirSync(`/proc/${pid}/fd`).length;
      } catch {
        return 0;
      }
    });
  }

  async status() {
    const answer = await fetch(`${this.nginx.url}/status?format=json`);
    return answer.json();
  }

  // Ids of the users in a presence channel.
  async usersIn(channel) {
    const path = `/apps/${app.id}/channels/${channel}/users`;
    const answer = await fetch(`${this.nginx.url}${path}?${signedQuery('GET', path, '', { credentials: app })}`);
    return (await answer.json()).users.map(({ id }) => id).sort();
  }

  async messagesIn(queue) {
    const rows = await this.#rabbit('ctl', '-q', 'list_queues', 'name', 'messages');
    return Number(new RegExp(`^${queue}\\s+(\\d+)`, 'm').exec(rows)?.[1] ?? -1);
  }

  rowsOf(channel) {
    return Number(
      execFileSync(
        'sqlite3',
        [join(this.nginx.directory, 'data/events.db'), `SELECT count(*) FROM events WHERE channel = '${channel}'`],
        { encoding: 'utf8' },
      ),
    );
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  // nginx as an operator would stop it.
  async stop() {
    await this.nginx.end();
  }

  async close() {
    if (this.nginx?.process && this.nginx.process.exitCode === null && this.nginx.process.signalCode === null) {
      const workers = this.nginx.workers(); // the master first, so that it makes no others
      [this.nginx.process.pid, ...workers].forEach(pid => process.kill(pid, 'SIGKILL'));
    }
    this.upstream?.closeAllConnections?.();
    this.upstream?.close();
    if (existsSync(join(this.rabbitDirectory, 'ports'))) {
      await this.#rabbit('resume');
      await this.#rabbit('stop');
    }
    for (const directory of [this.rabbitDirectory, this.nginx?.directory]) {
      if (directory && !process.env.REALTIME_TEST_KEEP) {
        rmSync(directory, { recursive: true, force: true });
      }
    }
  }
}

function proc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // gone meanwhile
  }
}

function title(pid) {
  return proc(pid, 'cmdline').replaceAll('\0', ' ').trim();
}

function certificate(directory) {
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      '-keyout',
      join(directory, 'key.pem'),
      '-out',
      join(directory, 'cert.pem'),
    ],
    { stdio: 'ignore' },
  );
}
