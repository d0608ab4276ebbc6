import { Client } from './client.js';
import { RealtimeError } from './errors.js';
import type { Options, Realtime } from './types.js';

export { RealtimeError, type ErrorCode } from './errors.js';
export type * from './types.js';

/**
 * Connects, and stays connected. `url` is that of a `realtime_pusher websocket` location with the application's key,
 * `/app/KEY` or a full one.
 */
export function connect(url: string, options: Options = {}): Realtime {
  const { fallback, WebSocket = globalThis.WebSocket } = options;
  const absolute = (relative: string) => {
    try {
      return new URL(relative, globalThis.location?.href);
    } catch {
      throw new RealtimeError('invalid', `${relative} is no URL; outside a page, give a full one`);
    }
  };
  if (!WebSocket && !fallback) {
    throw new RealtimeError('unsupported', 'Needs the option WebSocket: npm ws');
  }
  const target = absolute(url);
  target.protocol = target.protocol.replace('http', 'ws');
  target.search = 'protocol=7&client=nginx-realtime';
  return new Client(target.href, {
    ...options,
    WebSocket,
    fallback: fallback && {
      ...fallback,
      subscribe: absolute(fallback.subscribe).href,
      publish: absolute(fallback.publish).href,
    },
  });
}
