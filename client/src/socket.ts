// The Pusher protocol and its superset on one WebSocket.
import { type Link, type LinkEvents, Lost, type Publication } from './link.js';

// The text of a realtime:publish, whose length counts against the server's limit.
export const publishFrame = (p: Publication) =>
  JSON.stringify({
    event: 'realtime:publish',
    data: { ref: p.ref_, channel: p.channel_, event: p.event_, data: p.text_, key: p.key_ },
  });

export function openSocket(
  Socket: new (url: string) => any,
  url: string,
  timeout: number,
  on: LinkEvents,
): Link {
  let socket: any;
  let ended = false;
  let idle = 0; // until the server says how long: not established
  let timer: any;

  const after = (delay: number, then: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(then, delay);
  };
  const close = () => {
    ended = true;
    clearTimeout(timer);
    try {
      socket.close();
    } catch {
      // It never was one.
    }
  };
  // Does not wait for the closing handshake: on a dead network it takes minutes.
  const end = (code: number, reason?: string) => {
    if (!ended) {
      close();
      on.down_(code, reason);
    }
  };
  const send = (event: string, data: unknown) => socket.send(JSON.stringify({ event, data }));
  const check = () => {
    send('pusher:ping', {});
    after(timeout, () => end(Lost));
  };

  const handle = (text: string) => {
    const { event, channel, data, id, encoding, user_id } = JSON.parse(text);
    // Protocol events hold JSON in a string, pusher:error an object.
    const body = () => (typeof data === 'string' ? JSON.parse(data) : data || {});
    switch (event) {
      case 'pusher:connection_established': {
        const { socket_id, activity_timeout } = body();
        idle = (activity_timeout || 120) * 1000;
        on.up_(socket_id);
        break;
      }
      case 'pusher:ping':
        send('pusher:pong', {});
        break;
      case 'pusher:error': {
        const { code, message } = body();
        // With 4000 to 4299 a close follows that says the same.
        if (!code || code >= 4300) {
          on.error_(message, channel);
        }
        break;
      }
      case 'pusher_internal:subscription_succeeded': {
        const { recovered, id: start, presence } = body();
        on.subscribed_(channel, recovered !== false, start, presence);
        break;
      }
      case 'pusher:subscription_error': {
        const { status, error } = body();
        on.refused_(channel, status, error);
        break;
      }
      case 'pusher_internal:member_added':
      case 'pusher_internal:member_removed': {
        const { user_id: user, user_info } = body();
        on.member_(channel, event.endsWith('added'), user, user_info);
        break;
      }
      case 'realtime:ack':
      case 'realtime:error': {
        const { ref, id: position, code, message } = body();
        if (code) {
          on.rejected_(ref, code, message);
        } else {
          on.acknowledged_(ref, position);
        }
        break;
      }
      default:
        if (channel && !/^pusher(_internal)?:/.test(event)) {
          on.message_(channel, event, data, id, !!encoding, user_id);
        }
    }
  };

  after(timeout, () => end(Lost));
  try {
    socket = new Socket(url);
    socket.onmessage = ({ data }: { data: string }) => {
      if (!ended) {
        try {
          handle(data);
        } catch {
          on.error_('Not understood: ' + data);
        }
        if (idle && !ended) {
          after(idle, check);
        }
      }
    };
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => end(code, reason);
  } catch {
    after(0, () => end(Lost)); // the page may not, or the URL is bad
  }

  return {
    window_: 64,
    signed_: true,
    subscribe_: (channel, since, authorization) =>
      send('pusher:subscribe', {
        channel,
        since,
        auth: authorization?.auth,
        channel_data: authorization?.channel_data,
      }),
    unsubscribe_: channel => send('pusher:unsubscribe', { channel }),
    publish_: p => socket.send(publishFrame(p)),
    check_: check,
    close_: close,
  };
}
