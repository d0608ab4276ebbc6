/** What went wrong, for programs; the message says it to people, and what to do. */
export type ErrorCode =
  /** The server refuses this application or page for good; the client is closed. */
  | 'refused'
  /** The user may not subscribe or publish here. */
  | 'forbidden'
  /** The `authorize` callback failed; it is asked again. */
  | 'authorize'
  /** A name or an argument is wrong. */
  | 'invalid'
  /** The message is larger than the server takes. */
  | 'too-large'
  /** Too many messages wait already; this one was not taken. */
  | 'queue-full'
  /** A limit of the server: a presence channel that is full, client events. */
  | 'limit'
  /** It may have been published or not, and it is too late to repeat it safely. */
  | 'uncertain'
  /** The server has broadcast the message, but could not store it. */
  | 'not-stored'
  /** The server failed in a way that it does not explain. */
  | 'server'
  /** Messages are missing: the server no longer has all that came since the given position. */
  | 'gap'
  /** The client was closed before the message was acknowledged. */
  | 'closed'
  /** This runtime lacks something. */
  | 'unsupported';

export class RealtimeError extends Error {
  override readonly name = 'RealtimeError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** What it is about, if it is about one channel. */
    readonly channel?: string,
  ) {
    super(message);
  }
}
