import { RealtimeError, type ErrorCode } from './errors.js';
import { openHttp, publishUrl } from './http.js';
import { Busy, ComeBack, type Link, type LinkEvents, Lost, TooLarge } from './link.js';
import { type Item, Queue, SafeToRepeat } from './queue.js';
import { openSocket, publishFrame } from './socket.js';
import type { Message, Options, PublishOptions, Realtime, Receipt, State, SubscribeOptions } from './types.js';

const StableAfter = 5000; // a connection that lives so long was no failure

interface Subscription {
  handler_: (message: Message) => void;
  options_: SubscribeOptions;
  late_?: boolean; // history that it asks for went to those before it, if to any
}

interface Channel {
  name_: string;
  since_: string; // where to begin, the next time
  seen_?: string; // the last message that was delivered
  pending_: boolean; // asked for and not answered yet
  failures_: number; // of `authorize` in a row
  members_?: Map<string, unknown>;
  subscriptions_: Set<Subscription>;
}

// An exception of the application is its own, and must not disturb the protocol.
const call = <A extends unknown[]>(handler: ((...args: A) => void) | undefined, ...args: A) => {
  try {
    handler?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
};

const isSigned = (channel: string) => /^(private|presence)-/.test(channel);

// Whether `id` was delivered before, `seen` being the last that was.
export const isRepeat = (seen: string | undefined, id: string) => {
  const [epoch, offset] = id.split('-');
  const [seenEpoch, seenOffset] = (seen ?? '').split('-');
  return epoch === seenEpoch && +offset <= +seenOffset;
};

const decoded = (text: string, base64?: boolean) => {
  try {
    return base64 ? Uint8Array.from(atob(text), c => c.charCodeAt(0)) : JSON.parse(text);
  } catch {
    return text;
  }
};

// Of an answer's status, or of what the Pusher protocol has instead.
const codeOf = (status: number): ErrorCode =>
  (({ 401: 'forbidden', 403: 'forbidden', 413: 'too-large', 502: 'not-stored' }) as Record<number, ErrorCode>)[status] ??
  (status < 500 ? 'invalid' : status < 4000 ? 'server' : 'limit');

const online = () => globalThis.navigator?.onLine !== false;

export class Client implements Realtime {
  state: State = 'connecting';
  private link_?: Link;
  private socketId_ = '';
  private since_ = 0; // when the connection was established
  private failures_ = 0; // in a row
  private timer_: any;
  private pause_: any; // the server wants no messages for a moment
  private pauses_ = 0; // since a message was taken; not 0 before nothing waits, so that one at a time keeps its order
  private blocked_: boolean; // WebSockets are: use HTTP
  private probe_?: Link;
  private probing_: any;
  private readonly channels_ = new Map<string, Channel>();
  private readonly queue_: Queue;
  private readonly listeners_ = { state: new Set<(state: State) => void>(), error: new Set<(error: RealtimeError) => void>() };
  private readonly ended_ = new AbortController();

  constructor(
    private readonly url_: string,
    private readonly options_: Options,
  ) {
    this.blocked_ = !options_.WebSocket;
    this.queue_ = new Queue(options_.storage, url_);
    this.queue_.restore_(this.limit_(), { resolve_: () => {}, reject_: error => this.error_(error as RealtimeError) });
    this.listen_('online', () => this.wake_());
    this.listen_('offline', () => this.link_ && this.down_(Lost));
    this.listen_('pagehide', () => this.leave_());
    this.listen_('visibilitychange', () => (document.visibilityState === 'hidden' ? this.leave_() : this.wake_()));
    this.connect_();
  }

  // --- for applications

  on(event: 'state' | 'error', listener: any) {
    const listeners: Set<unknown> = this.listeners_[event];
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  publish(channel: string, event: string, data?: unknown, { key }: PublishOptions = {}): Promise<Receipt> {
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(data ?? null);
      const full = this.queue_.items_.size >= this.limit_();
      const item = this.queue_.add_({
        channel_: channel,
        event_: event,
        text_: text,
        key_: key || '',
        resolve_: resolve,
        reject_: reject,
      });
      const limit = this.options_.maxMessageSize ?? 65536;
      if (this.state === 'closed') {
        this.settle_(item, 'closed', 'Closed: connect() again');
      } else if (full) {
        this.settle_(item, 'queue-full', 'Too many messages wait: raise maxQueue');
      } else if (new TextEncoder().encode(publishFrame(item)).length > limit) {
        this.settle_(item, 'too-large', `Larger than ${limit} bytes: send less, or a link`);
      } else {
        this.queue_.store_(item);
        this.flush_();
      }
    });
  }

  subscribe(name: string, handler: (message: Message) => void, options: SubscribeOptions = {}) {
    const { since = 'latest' } = options;
    const known = this.channels_.get(name);
    const channel = known ?? { name_: name, since_: since, pending_: true, failures_: 0, subscriptions_: new Set() };
    const { subscriptions_ } = channel;
    const subscription = { handler_: handler, options_: options, late_: since !== 'latest' && since !== channel.since_ };
    subscriptions_.add(subscription);
    if (!known) {
      this.channels_.set(name, channel);
      this.join_(channel);
    } else if (!channel.pending_) {
      // It joins what goes on.
      queueMicrotask(() => {
        if (subscriptions_.has(subscription) && !channel.pending_) {
          this.started_(subscription, channel, true);
          this.tellMembers_(channel, [subscription]);
        }
      });
    }
    return () => {
      if (subscriptions_.delete(subscription) && !subscriptions_.size && this.channels_.delete(name)) {
        this.connected_() && this.link_!.unsubscribe_(name);
        this.flush_();
      }
    };
  }

  close() {
    this.finish_('closed', 'Closed before it was acknowledged');
  }

  // --- the connection

  private connect_() {
    clearTimeout(this.timer_);
    this.setState_('connecting');
    this.link_ = this.open_(this.blocked_);
  }

  private connected_() {
    return this.state === 'connected';
  }

  // Opens a link which, once it is up, is the one; the one before is closed then.
  private open_(http: boolean): Link {
    const { fallback, timeout = 10000, WebSocket } = this.options_;
    const named = (name: string, then: (channel: Channel) => void) => {
      const channel = this.channels_.get(name);
      if (channel && link === this.link_) {
        then(channel);
      }
    };
    const item = (ref: number) => (link === this.link_ ? this.queue_.items_.get(ref) : undefined);
    const on: LinkEvents = {
      up_: socketId => {
        if (link !== this.link_) {
          this.link_?.close_();
          this.link_ = link;
          this.reset_();
        }
        this.blocked_ = http;
        this.socketId_ = socketId;
        this.since_ = Date.now();
        clearTimeout(this.timer_);
        clearInterval(this.probing_);
        if (http && WebSocket) {
          this.probing_ = setInterval(() => {
            this.probe_?.close_();
            this.probe_ = this.open_(false);
          }, fallback!.probe ?? 60000);
        }
        this.setState_('connected');
        this.channels_.forEach(channel => this.join_(channel));
        this.flush_();
      },
      down_: (code, reason) => {
        if (link === this.link_) {
          // Two attempts have failed, or HTTP has: try the other.
          if (fallback && !this.connected_() && this.failures_ > 0) {
            this.blocked_ = !http || !WebSocket;
          }
          this.down_(code, reason);
        }
      },
      subscribed_: (name, recovered, id, members) =>
        named(name, channel => {
          channel.pending_ = false;
          channel.failures_ = 0;
          channel.since_ = id ?? channel.since_;
          channel.members_ = members && new Map(members.ids.map(user => [user, members.hash[user]]));
          channel.subscriptions_.forEach(one => this.started_(one, channel, recovered));
          this.tellMembers_(channel);
          this.flush_();
        }),
      refused_: (name, status, reason) =>
        named(name, channel =>
          this.refused_(
            channel,
            codeOf(status),
            `Subscription refused: ${reason}. Check the channel, "since" and what authorizes it`,
          ),
        ),
      message_: (name, event, data, id, base64, userId) =>
        named(name, channel => {
          if (id) {
            if (isRepeat(channel.seen_, id)) {
              return;
            }
            channel.seen_ = channel.since_ = id;
          }
          const message = { id, channel: name, event, data: decoded(data, base64), userId };
          channel.subscriptions_.forEach(one => call(one.handler_, message));
        }),
      position_: (name, id) =>
        named(name, channel => {
          channel.since_ = id;
        }),
      member_: (name, joined, id, info) =>
        named(name, channel => {
          joined ? channel.members_?.set(id, info) : channel.members_?.delete(id);
          this.tellMembers_(channel);
        }),
      acknowledged_: (ref, id) => {
        const one = item(ref);
        if (one) {
          this.queue_.remove_(one);
          this.pauses_ &&= +!!this.queue_.items_.size;
          one.resolve_({ id });
          this.flush_();
        }
      },
      rejected_: (ref, status, reason) => {
        const one = item(ref);
        if (one) {
          this.rejected_(one, status, reason);
        }
      },
      error_: (reason, channel) => link === this.link_ && this.error_(new RealtimeError('server', reason, channel)),
    };
    const link: Link = http ? openHttp(fallback!, on) : openSocket(WebSocket!, this.url_, timeout, on);
    return link;
  }

  // Nothing that was sent has been answered, nothing is subscribed.
  private reset_() {
    clearTimeout(this.pause_);
    this.pause_ = 0;
    this.channels_.forEach(channel => {
      channel.pending_ = true;
    });
    this.queue_.items_.forEach(item => {
      item.sent_ = false;
    });
  }

  private down_(code: number, reason?: string) {
    const range = Math.floor(code / 100);
    if (range === 40) {
      this.finish_('refused', `Connection refused: ${reason} (${code}). Check the URL, its key and the allowed origins`);
      return;
    }
    if (code === TooLarge) {
      // Whatever the server's limit is, the largest is the one.
      const sent = [...this.queue_.items_.values()].filter(item => item.sent_).sort((a, b) => b.text_.length - a.text_.length);
      sent[0] && this.settle_(sent[0], 'too-large', 'Larger than realtime_max_message_size: send less, or a link');
    }
    this.link_!.close_();
    this.link_ = undefined;
    this.reset_();
    if (this.connected_() && Date.now() - this.since_ > StableAfter) {
      this.failures_ = 0;
    }
    const atOnce = (code === ComeBack || range === 42) && !this.failures_;
    const least = code === Busy || range === 41 ? 1000 : 0;
    // Offline, an event tells when to try; but browsers have been wrong about it.
    const delay = !online() ? 30000 : atOnce ? 0 : least + this.backoff_(this.failures_);
    this.failures_++;
    clearTimeout(this.timer_);
    this.timer_ = setTimeout(() => this.connect_(), delay);
    this.setState_(online() ? 'waiting' : 'offline');
  }

  // Full jitter: clients that were cut off together do not come back together.
  private backoff_(failures: number) {
    const { min = 500, max = 30000 } = this.options_.backoff ?? {};
    return Math.random() * Math.min(max, min * 2 ** failures);
  }

  // The network or the page is back.
  private wake_() {
    if (this.connected_()) {
      this.link_!.check_();
    } else if (!this.link_ && this.state !== 'closed') {
      this.failures_ = 0;
      this.connect_();
    }
  }

  private finish_(code: ErrorCode, message: string) {
    if (this.state === 'closed') {
      return;
    }
    this.setState_('closed');
    this.link_?.close_();
    this.probe_?.close_();
    this.link_ = undefined;
    clearTimeout(this.timer_);
    clearTimeout(this.pause_);
    clearInterval(this.probing_);
    this.ended_.abort();
    // Who is refused may be let in tomorrow: what is in the storage stays.
    this.queue_.items_.forEach(item => this.settle_(item, code, message, code === 'refused'));
    this.channels_.clear();
    if (code === 'refused') {
      this.error_(new RealtimeError(code, message));
    }
  }

  // --- subscriptions

  private join_(channel: Channel) {
    const { link_: link, socketId_: socketId } = this;
    const { name_: name } = channel;
    if (!this.connected_()) {
      return;
    }
    const current = () => link === this.link_ && this.channels_.get(name) === channel;
    channel.pending_ = true;
    if (!link!.signed_ || !isSigned(name)) {
      link!.subscribe_(name, channel.since_);
      return;
    }
    const { authorize } = this.options_;
    // Not in this turn, whatever it is.
    Promise.resolve()
      .then(() => authorize?.(name, socketId))
      .then(
        authorization => {
          if (!current()) {
            return;
          }
          if (authorization) {
            link!.subscribe_(name, channel.since_, authorization);
          } else {
            this.refused_(channel, 'forbidden', authorize ? 'authorize() gave nothing' : 'Needs the option authorize');
          }
        },
        error => {
          if (current()) {
            this.refused_(channel, 'authorize', `authorize() is asked again, as it failed: ${error}`);
            setTimeout(() => current() && this.join_(channel), 1000 + this.backoff_(channel.failures_++));
          }
        },
      );
  }

  private started_(subscription: Subscription, { name_: channel, since_: id }: Channel, complete: boolean) {
    const { options_, late_ } = subscription;
    const recovered = complete && !late_;
    subscription.late_ = false;
    if (options_.onStart || recovered) {
      call(options_.onStart, { channel, recovered, id });
    } else {
      this.error_(new RealtimeError('gap', 'Messages are missing for good: load the state anew', channel), options_);
    }
  }

  private refused_(channel: Channel, code: ErrorCode, message: string) {
    channel.pending_ = false;
    channel.subscriptions_.forEach(({ options_ }) => this.error_(new RealtimeError(code, message, channel.name_), options_));
    this.flush_();
  }

  private tellMembers_({ members_, subscriptions_ }: Channel, to: Iterable<Subscription> = subscriptions_) {
    if (members_) {
      const members = [...members_].map(([id, info]) => ({ id, info }));
      for (const { options_ } of to) {
        call(options_.onMembers, members);
      }
    }
  }

  // --- messages

  private limit_() {
    return this.options_.maxQueue ?? 1000;
  }

  private flush_() {
    const link = this.link_;
    if (!this.connected_() || this.pause_) {
      return;
    }
    let left = this.pauses_ ? 1 : link!.window_;
    for (const item of this.queue_.items_.values()) {
      // The server takes messages for such a channel from its subscribers: once it has answered.
      if (!left-- || (isSigned(item.channel_) && this.channels_.get(item.channel_)?.pending_)) {
        return;
      }
      if (item.sent_) {
        continue;
      }
      const gone = this.queue_.gone_(item);
      if (gone && item.adopted_) {
        this.queue_.remove_(item);
      } else if (gone || (item.tried_ && Date.now() - item.tried_ > SafeToRepeat)) {
        this.settle_(item, 'uncertain', 'It may have been published, by another page or too long ago to repeat');
      } else {
        this.tried_(item);
        item.sent_ = true;
        link!.publish_(item);
      }
    }
  }

  private tried_(item: Item) {
    if (!item.tried_) {
      item.tried_ = Date.now();
      this.queue_.store_(item);
    }
  }

  private rejected_(item: Item, status: number, reason: string) {
    if ([429, 503, 504].includes(status)) {
      // Later. With 504 it was published and its answer is still to be had, otherwise it was not.
      item.sent_ = false;
      if (status !== 504) {
        item.tried_ = undefined;
        this.queue_.store_(item);
      }
      this.pause_ ||= setTimeout(
        () => {
          this.pause_ = 0;
          this.flush_();
        },
        100 + this.backoff_(this.pauses_++),
      );
    } else {
      this.settle_(item, codeOf(status), `${reason}. Check client_publish; a private channel needs a subscription too`);
    }
    this.flush_();
  }

  private settle_(item: Item, code: ErrorCode, message: string, keep?: boolean) {
    this.queue_.remove_(item, keep);
    item.reject_(new RealtimeError(code, message, item.channel_));
  }

  // The page may be about to go. If it stays, the keys keep messages from being published twice. What is in a storage
  // and cannot be sent now is sent by the next page.
  private leave_() {
    const { fallback, storage } = this.options_;
    if (!fallback || (storage && !this.connected_())) {
      return;
    }
    for (const item of this.queue_.items_.values()) {
      if (!navigator.sendBeacon(publishUrl(fallback, item), item.text_)) {
        return;
      }
      this.tried_(item);
    }
  }

  // --- telling

  private listen_(event: string, listener: () => void) {
    // visibilitychange is the document's, but bubbles.
    globalThis.addEventListener?.(event, listener, { signal: this.ended_.signal });
  }

  private setState_(state: State) {
    if (this.state !== state) {
      this.state = state;
      this.listeners_.state.forEach(listener => call(listener, state));
    }
  }

  private error_(error: RealtimeError, { onError }: SubscribeOptions = {}) {
    if (onError) {
      call(onError, error);
    } else if (this.listeners_.error.size) {
      this.listeners_.error.forEach(listener => call(listener, error));
    } else {
      console.warn(error);
    }
  }
}
