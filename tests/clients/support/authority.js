// The application's own server: it knows its users and signs what they may do, with the `pusher` SDK. It also serves
// the page of the browser's tests. Nobody logs in here: what the client says about itself is believed.
import { createServer } from 'node:http';

const page = `<!DOCTYPE html><html><head><meta charset="utf-8"><title>page</title>
<script src="/dist/pusher-js/dist/web/pusher-with-encryption.js"></script>
<script src="/dist/laravel-echo/dist/echo.iife.js"></script></head><body></body></html>`;

export function bodyOf(request) {
  return new Promise((resolve, reject) => {
    const parts = [];
    request.on('data', part => parts.push(part)).on('error', reject)
      .on('end', () => resolve(Buffer.concat(parts).toString()));
  });
}

export function listenOn(server) {
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
}

export function stop(server) {
  server.closeAllConnections();
  return new Promise(resolve => server.close(resolve));
}

export class Authority {
  static async start(shop) {
    const authority = new Authority();
    authority.server = createServer((request, response) => authority.answer(shop, request, response));
    authority.port = await listenOn(authority.server);
    return authority;
  }

  async answer(shop, request, response) {
    if (request.url.startsWith('/page/')) {
      response.setHeader('Content-Type', 'text/html').end(page);
      return;
    }
    const form = Object.fromEntries(new URLSearchParams(await bodyOf(request)));
    const signed = request.url.endsWith('/user-auth') ? this.user(shop, form) : this.channel(shop, form);
    response.statusCode = signed ? 200 : 403;
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify(signed ?? {}));
  }

  channel(shop, { socket_id: socketId, channel_name: channel, user, name, mute }) {
    if (channel.includes('forbidden')) {
      return undefined;
    }
    const data = channel.startsWith('presence-') && user && !mute
      ? { user_id: user, ...name && { user_info: { name } } } : undefined;
    const signed = shop.server.authorizeChannel(socketId, channel, data);
    return channel.includes('forged') ? { ...signed, auth: signed.auth.replace(/.{8}$/, '00000000') } : signed;
  }

  user(shop, { socket_id: socketId, user, name, watchlist }) {
    return user && shop.server.authenticateUser(socketId, { id: user, ...name && { user_info: { name } },
      ...watchlist && { watchlist: watchlist.split(',') } });
  }

  stop() {
    return stop(this.server);
  }
}
