// Receives an application's webhooks, and checks each with the `pusher` SDK.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { eventually } from '../../browser/support/nginx.js';
import { bodyOf, listenOn, stop } from './authority.js';

export class Hooks {
  static async start(shop) {
    const hooks = new Hooks();
    hooks.requests = [];
    // The status of the answer to the nth request.
    hooks.status = () => 200;
    hooks.server = createServer(async (request, response) => {
      const rawBody = await bodyOf(request);
      const status = hooks.status(hooks.requests.length);
      hooks.requests.push({ method: request.method, path: request.url, headers: request.headers,
        rawHeaders: request.rawHeaders, rawBody, status, at: Date.now() });
      response.writeHead(status).end();
    });
    hooks.port = await listenOn(hooks.server);
    hooks.url = `http://127.0.0.1:${hooks.port}/hooks`;
    hooks.shop = shop;
    return hooks;
  }

  // The events that were received and answered with success, in their order; every request was a valid webhook.
  events(sdk = this.shop.server) {
    return this.requests.flatMap(request => {
      const hook = sdk.webhook(request);
      assert.ok(hook.isValid(), `a valid webhook: ${JSON.stringify(request)}`);
      return request.status === 200 ? hook.getEvents() : [];
    });
  }

  about(channel) {
    return this.events().filter(event => event.channel === channel);
  }

  // Waits for that event of that channel, and resolves to it.
  shows(name, channel, patience = 10000) {
    return eventually(() => this.events().find(event => event.name === name && event.channel === channel),
      () => `${name} of ${channel}; received ${JSON.stringify(this.events())}`, patience);
  }

  stop() {
    return stop(this.server);
  }
}
