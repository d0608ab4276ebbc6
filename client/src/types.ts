import type { RealtimeError } from './errors.js';

/** A position in a channel's history, `<epoch>-<offset>`; opaque to applications. */
export type Position = string;

export interface Message<T = any> {
  /** Its position: pass it as `since` to hear what comes after it. Client events of other servers have none. */
  id?: Position;
  channel: string;
  event: string;
  /** What was published: JSON if it is JSON, else a string; bytes if it is no text. */
  data: T;
  /** Who published it, where the server knows. */
  userId?: string;
}

/** How a subscription begins, each time that it does: at first, and after each reconnect. */
export interface Start {
  channel: string;
  /** False: a gap. Messages are missing that the server no longer has; load the state anew. */
  recovered: boolean;
  /** Messages after this position follow. */
  id?: Position;
}

export interface Member {
  id: string;
  info: any;
}

export interface SubscribeOptions {
  /** Where to begin: after a position, with all the history there is, or (default) with what comes from now on. */
  since?: Position | 'earliest' | 'latest';
  onStart?: (start: Start) => void;
  /** Presence channels: who is here, each time that it changes. */
  onMembers?: (members: Member[]) => void;
  /** Errors of this subscription; without it they are errors of the client. */
  onError?: (error: RealtimeError) => void;
}

export interface PublishOptions {
  /** Publishing with the same key again within five minutes publishes nothing. Default: one of its own. */
  key?: string;
}

export interface Receipt {
  id: Position;
}

/**
 * `connecting`: an attempt is under way. `connected`. `waiting`: for the next attempt. `offline`: as the browser says;
 * it tries at once when that changes. `closed`: for good.
 */
export type State = 'connecting' | 'connected' | 'waiting' | 'offline' | 'closed';

/** What the application's server answers, in the format of Pusher's SDKs; nothing: the user may not. */
export interface Authorization {
  auth: string;
  channel_data?: string;
}

export interface Fallback {
  /** URL of a `realtime_subscribe` location, to which the channel's name is appended: `/sub/`. */
  subscribe: string;
  /** URL of a `realtime_publish` location (with `event=$arg_event`): `/pub/`. Also for what is left on page hide. */
  publish: string;
  /** How often to look whether WebSockets work by now, in milliseconds. Default 60000. */
  probe?: number;
}

export interface Options {
  /** For private and presence channels: asks the application's server. */
  authorize?: (channel: string, socketId: string) => Promise<Authorization | null | undefined> | Authorization | null | undefined;
  /** Where WebSockets are blocked: Server-Sent Events and POST. */
  fallback?: Fallback;
  /** Where messages outlive the page until they are acknowledged: `localStorage`. */
  storage?: Storage;
  /** Most messages that wait to be acknowledged. Default 1000. */
  maxQueue?: number;
  /** Largest message, in bytes; the server's `realtime_max_message_size`. Default 65536. */
  maxMessageSize?: number;
  /** Back-off between attempts, in milliseconds: a random time below `min`, then twice, … up to `max`. Default 500, 30000. */
  backoff?: { min?: number; max?: number };
  /** How long to wait for a connection or for an answer to a ping, in milliseconds. Default 10000. */
  timeout?: number;
  /** For runtimes without a global one: npm `ws`. */
  WebSocket?: new (url: string) => any;
}

export interface Realtime {
  readonly state: State;
  /**
   * Resolves when the server has taken the message (and stored it, if a rule of the channel says so). Offline, it
   * waits. Rejects with a RealtimeError, and then the message is not sent any more.
   */
  publish(channel: string, event: string, data?: unknown, options?: PublishOptions): Promise<Receipt>;
  /** Returns the function that stops it. */
  subscribe<T = any>(channel: string, handler: (message: Message<T>) => void, options?: SubscribeOptions): () => void;
  /** Returns the function that stops it. Errors without a listener are written to the console. */
  on(event: 'state', listener: (state: State) => void): () => void;
  on(event: 'error', listener: (error: RealtimeError) => void): () => void;
  /** For good. What is not acknowledged is rejected. */
  close(): void;
}
