// Where WebSockets are blocked: an event stream for each channel, and POST. fetch() rather than EventSource, which can
// neither hear events whose names it does not know, nor tell why it failed.
import { eventParser } from './events.js';
import { Busy, ComeBack, type Link, type LinkEvents, Lost, type Publication } from './link.js';
import type { Fallback } from './types.js';

// The server's comments come more often (`realtime_ping`, 25 s).
const Silence = 60000;

const encode = encodeURIComponent;

export const publishUrl = ({ publish }: Fallback, p: Publication) =>
  `${publish}${encode(p.channel_)}?event=${encode(p.event_)}&idempotency_key=${encode(p.key_)}`;

export function openHttp(fallback: Fallback, on: LinkEvents): Link {
  const streams = new Map<string, AbortController>();
  const all = new AbortController();
  const close = () => {
    all.abort();
    streams.forEach(stream => stream.abort());
  };
  const end = (code: number) => {
    if (!all.signal.aborted) {
      close();
      on.down_(code);
    }
  };

  const read = async (channel: string, since: string, stream: AbortController) => {
    let timer: any;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => end(Lost), Silence);
    };
    try {
      alive();
      const response = await fetch(`${fallback.subscribe}${encode(channel)}?since=${encode(since)}`, {
        headers: { Accept: 'text/event-stream' },
        cache: 'no-store',
        signal: stream.signal,
      });
      if (!response.ok) {
        const { status } = response;
        if (status >= 500 || status === 429) {
          end(Busy);
        } else {
          on.refused_(channel, status, `status ${status}`);
        }
        return;
      }
      let begun = false;
      const parse = eventParser(({ id, event, data, encoding }) => {
        const gap = event === 'realtime:gap';
        if (!begun || gap) {
          begun = true;
          on.subscribed_(channel, !gap);
        }
        if (data === undefined) {
          on.position_(channel, id!);
        } else if (!gap) {
          on.message_(channel, event || 'message', data, id, !!encoding);
        }
      });
      const decoder = new TextDecoder();
      const reader = response.body!.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done || stream.signal.aborted) {
          break;
        }
        alive();
        parse(decoder.decode(value, { stream: true }));
      }
      if (!stream.signal.aborted) {
        end(ComeBack);
      }
    } catch {
      if (!stream.signal.aborted) {
        end(Lost);
      }
    } finally {
      clearTimeout(timer);
    }
  };

  const post = async (p: Publication) => {
    try {
      // Text, for which browsers ask no permission first: the same as sendBeacon() sends.
      const response = await fetch(publishUrl(fallback, p), { method: 'POST', body: p.text_, signal: all.signal });
      const answer = await response.json().catch(() => ({}));
      if (response.ok) {
        on.acknowledged_(p.ref_, answer.id);
      } else {
        on.rejected_(p.ref_, response.status, answer.error || `status ${response.status}`);
      }
    } catch {
      end(Lost);
    }
  };

  // Whatever the answer is, it is one.
  fetch(fallback.publish, { method: 'HEAD', mode: 'no-cors', signal: all.signal }).then(
    () => on.up_(''),
    () => end(Lost),
  );

  return {
    window_: 1, // requests may overtake each other
    signed_: false,
    subscribe_: (channel, since) => {
      const stream = new AbortController();
      streams.set(channel, stream);
      read(channel, since, stream);
    },
    unsubscribe_: channel => {
      streams.get(channel)?.abort();
      streams.delete(channel);
    },
    publish_: post,
    check_: () => {}, // a lost network ends requests by itself
    close_: close,
  };
}
