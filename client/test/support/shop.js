// A shop of the SDKs' tests, with what this client needs besides: its files, and HTTP for where WebSockets are blocked.
import { createHmac } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import { app, Shop } from '../../../tests/clients/support/shop.js';
import { connect } from '../../dist/index.js';

export { app };

const home = join(dirname(fileURLToPath(import.meta.url)), '../..');
const types = 'types { text/javascript js; text/html html; }';

export const open = (t, { rules = 'channels * { client_publish on; }', files = '', ...options } = {}) => Shop.open(t, {
  rules,
  server: `
    location /client/ { ${types} alias ${join(home, 'dist')}/; }
    ${files && `location /files/ { ${types} alias ${files}/; }`}
    location ~ ^/pub/(?<ch>.+)$ { realtime_publish $ch app=${app.id} event=$arg_event; }
    location ~ ^/sub/(?<ch>.+)$ { realtime_subscribe $ch app=${app.id}; }
    location /blocked/ { return 403; }`,
  ...options,
});

// A network that can be cut: `network.up = false` ends its connections and lets none come about. `network.swallow` says
// which frames of the server get lost.
export function network() {
  const all = new Set();
  let up = true;
  const net = { swallow: () => false, sockets: all };
  net.WebSocket = class extends WebSocket {
    constructor(url) {
      super(up ? url : 'ws://127.0.0.1:1/', { perMessageDeflate: false });
      all.add(this);
      this.on('close', () => all.delete(this));
    }

    set onmessage(handler) {
      super.onmessage = handler && (event => net.swallow(event.data) || handler(event));
    }
  };
  Object.defineProperty(net, 'up', {
    set(value) {
      up = value;
      if (!up) {
        all.forEach(socket => socket.terminate());
      }
    },
  });
  return net;
}

// The client, connected in Node. `rt.heard` grows by what join() hears.
export function client(t, shop, { path = `/app/${app.key}`, ...options } = {}) {
  const rt = connect(shop.url + path, { WebSocket, backoff: { min: 50, max: 200 }, ...options });
  t.after(() => rt.close());
  rt.errors = [];
  rt.on('error', error => rt.errors.push(error));
  return rt;
}

// Resolves when the subscription has begun.
export function follow(rt, channel, options = {}) {
  const heard = [];
  heard.starts = [];
  heard.members = [];
  return new Promise((resolve, reject) => {
    heard.stop = rt.subscribe(channel, message => heard.push(message), {
      ...options,
      onStart: start => {
        heard.starts.push(start);
        resolve(heard);
      },
      onMembers: members => heard.members.push(members.map(member => member.id).sort().join()),
      onError: options.onError ?? reject,
    });
  });
}

export const fallback = shop => ({ subscribe: `${shop.url}/sub/`, publish: `${shop.url}/pub/`, probe: 300 });

// What the application's server would do: any user may be anybody.
export const authorizeAs = user => (channel, socketId) => {
  const data = channel.startsWith('presence-') ? JSON.stringify({ user_id: user, user_info: { name: user } }) : undefined;
  const signature = createHmac('sha256', app.secret).update(`${socketId}:${channel}${data ? `:${data}` : ''}`).digest('hex');
  return { auth: `${app.key}:${signature}`, channel_data: data };
};
