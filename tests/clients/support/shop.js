// An application and all that surrounds it: nginx with two workers in front, the application's own server behind it
// (which authorizes its users), the receiver of its webhooks, and its clients. It ends with the test that opened it,
// and the test fails if the error log has a line that nobody should ever see, or if a secret is in any log.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import PusherClient from 'pusher-js';
import PusherServer from 'pusher';
import { eventually, modulePath, Nginx, root } from '../../browser/support/nginx.js';
import { app, masterKey } from './app.js';
import { Authority } from './authority.js';
import { Hooks } from './hooks.js';
import { Raw } from './raw.js';
import { request } from './rest.js';

export { app, eventually };

const webhookEvents = 'channel_existence,presence,client_events,cache_channels,subscription_count';

// `rules` go into the app, `apps` and `http` beside it, `server` into the server.
function configuration(shop, { rules = '', apps = '', http = '', server = '', hooks = false, workers = 2 }) {
  const { nginx } = shop;
  const webhook = hooks ? `webhook ${shop.hooks.url} events=${hooks === true ? webhookEvents : hooks};` : '';
  return `load_module ${modulePath};
worker_processes ${workers};
pid ${nginx.directory}/nginx.pid;
error_log ${nginx.directory}/error.log info;
events { worker_connections 1024; }
http {
  access_log ${nginx.directory}/access.log;
  client_body_temp_path ${nginx.directory}/body;
  proxy_temp_path ${nginx.directory}/proxy;
  fastcgi_temp_path ${nginx.directory}/fastcgi;
  scgi_temp_path ${nginx.directory}/scgi;
  uwsgi_temp_path ${nginx.directory}/uwsgi;
  realtime_zone main 16m;
  ${http}
  realtime_app ${app.id} { key ${app.key}; secret ${app.secret}; ${webhook} ${rules} }
  ${apps}
  server {
    listen 127.0.0.1:${nginx.port} reuseport;
    location /app/ { realtime_pusher websocket; }
    location /apps/ { realtime_pusher api; }
    location /realtime/ { realtime_status; }
    location ~ ^/(pusher|broadcasting|page)/ { proxy_pass http://127.0.0.1:${shop.authority.port}; }
    location /dist/ {
      types { text/javascript js; }
      alias ${join(root, 'tests/clients/node_modules')}/;
    }
    ${server}
  }
}
`;
}

export class Shop {
  // What a test begins with; `options` as in configuration().
  static async open(t, options = {}) {
    const shop = new Shop();
    shop.clients = [];
    shop.workers = options.workers ?? 2;
    shop.secrets = [app.secret, masterKey, ...options.secrets ?? []];
    shop.authority = await Authority.start(shop);
    shop.hooks = await Hooks.start(shop);
    t.after(() => shop.close());
    shop.nginx = await Nginx.run(nginx => {
      shop.nginx = nginx;
      return configuration(shop, options);
    }, shop.workers);
    shop.port = shop.nginx.port;
    shop.url = shop.nginx.url;
    shop.server = shop.serverSdk();
    return shop;
  }

  serverSdk(credentials = app) {
    return new PusherServer({ appId: credentials.id, key: credentials.key, secret: credentials.secret,
      host: '127.0.0.1', port: this.port, useTLS: false, encryptionMasterKeyBase64: masterKey });
  }

  // --- clients ----------------------------------------------------------------------------------------------------

  // The options of pusher-js that lead here. `user`, `name` and `watchlist` are what the application's server knows.
  clientOptions({ user, name, watchlist, mute, ...options } = {}) {
    const params = Object.fromEntries(Object.entries({ user, name, watchlist, mute }).filter(([, value]) => value));
    return {
      cluster: '', wsHost: '127.0.0.1', wsPort: this.port, forceTLS: false, enabledTransports: ['ws'],
      channelAuthorization: { endpoint: `${this.url}/pusher/auth`, transport: 'ajax', params },
      userAuthentication: { endpoint: `${this.url}/pusher/user-auth`, transport: 'ajax', params },
      ...options,
    };
  }

  // pusher-js, about to connect. `client.states` (those after `connecting`) and `client.problems` grow.
  client({ key = app.key, ...options } = {}) {
    const client = new PusherClient(key, this.clientOptions(options));
    client.states = [];
    client.problems = [];
    client.connection.bind('state_change', ({ current }) => client.states.push(current));
    client.connection.bind('error', error => client.problems.push(error));
    this.clients.push(client);
    return client;
  }

  async connected(options) {
    const client = this.client(options);
    await online(client);
    return client;
  }

  // A WebSocket without an SDK.
  raw(options) {
    const raw = new Raw(this, options);
    this.clients.push(raw);
    return raw;
  }

  async rawConnected(options) {
    const raw = this.raw(options);
    await raw.established();
    return raw;
  }

  // A signed request, see rest.js.
  rest(method, path, options) {
    return request(this, method, path, options);
  }

  // --- workers ----------------------------------------------------------------------------------------------------

  // Calls the first function until its connection is served by the first worker, the second for the second and so on:
  // the kernel chooses the worker, and /proc tells which. Resolves to the connections.
  async onEachWorker(...connects) {
    const workers = this.nginx.workers();
    const connections = [];
    for (const [index, connect] of connects.entries()) {
      connections.push(await this.onWorker(workers[index % workers.length], connect));
    }
    return connections;
  }

  async onWorker(pid, connect) {
    for (let tries = 0; tries < 60; ++tries) {
      const before = this.served();
      const connection = await connect();
      const fresh = [...this.served()].filter(([inode]) => !before.has(inode));
      if (fresh.length === 1 && fresh[0][1] === pid) {
        return connection;
      }
      connection.disconnect();
    }
    throw new Error(`no connection reached worker ${pid}`);
  }

  // The established connections: inode → worker.
  served() {
    const port = this.port.toString(16).toUpperCase().padStart(4, '0');
    const ours = new Set(readFileSync('/proc/net/tcp', 'utf8').split('\n').filter(line => line.includes(`:${port} `))
      .map(line => line.trim().split(/\s+/)).filter(word => word[1].endsWith(`:${port}`) && word[3] === '01').map(word => word[9]));
    const all = new Map();
    for (const pid of this.nginx.workers()) {
      for (const fd of readdirSync(`/proc/${pid}/fd`)) {
        const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/${pid}/fd/${fd}`))?.[1];
        if (ours.has(inode)) {
          all.set(inode, pid);
        }
      }
    }
    return all;
  }

  // --- the end ----------------------------------------------------------------------------------------------------

  accessLog() {
    const path = join(this.nginx.directory, 'access.log');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  async close() {
    for (const client of this.clients) {
      client.disconnect();
    }
    await Promise.all([this.authority.stop(), this.hooks.stop()]);
    if (!this.nginx?.process) {
      return;
    }
    const leaked = this.secrets.filter(secret => (this.nginx.errorLog() + this.accessLog()).includes(secret));
    const complaints = await this.nginx.stop({ killed: this.killed });
    assert.deepEqual(complaints, []);
    assert.equal(this.nginx.process.exitCode, 0);
    assert.deepEqual(leaked, [], 'no secret is in a log');
  }
}

function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return ''; // Closed meanwhile.
  }
}

// --- pusher-js, awaited ---------------------------------------------------------------------------------------------

// The codes that `error` events of the connection told, of pusher:error frames and of Close frames.
export function errorCodes(client) {
  return client.problems.map(({ data, error }) => (data ?? error.data)?.code);
}

export function online(client) {
  return eventually(() => client.connection.state === 'connected',
    () => `pusher-js connects; it went ${client.states} with ${JSON.stringify(client.problems)}`);
}

// From now on, `channel.log` has each event as [name, data].
export function listen(channel) {
  if (!channel.log) {
    channel.log = [];
    channel.metadata = [];
    channel.bind_global((event, data) => channel.log.push([event, data]));
  }
  return channel;
}

export async function subscribe(client, name) {
  const channel = listen(client.subscribe(name));
  await eventually(() => channel.subscribed, () => `subscribed to ${name}; heard ${JSON.stringify(channel.log)}`);
  return channel;
}

// Resolves to the data of the events of that name, once there are `count`.
export function heard(channel, event, count = 1) {
  const all = () => channel.log.filter(([name]) => name === event).map(([, data]) => data);
  return eventually(() => all().length >= count && all(),
    () => `${count} × ${event} on ${channel.name}; heard ${JSON.stringify(channel.log)}`);
}

// What a channel has heard, apart from its subscription and the marks of settled().
export function events(channel) {
  return channel.log.filter(([name]) => name !== 'pusher:subscription_succeeded' && name !== 'mark');
}

// All that was published before on that channel has arrived at all of these: a mark that was published later has.
export async function settled(shop, ...channels) {
  const mark = `mark ${Math.random()}`;
  for (const name of new Set(channels.map(channel => channel.name))) {
    await shop.server.trigger(name, 'mark', mark);
  }
  for (const channel of channels) {
    await eventually(() => channel.log.some(([name, data]) => name === 'mark' && data === mark), 'the mark');
  }
}
