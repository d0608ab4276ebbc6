// What the client needs of a way to the server. There are two: a WebSocket (socket.ts), and HTTP (http.ts).
import type { Authorization } from './types.js';

export interface Publication {
  ref_: number;
  channel_: string;
  event_: string;
  text_: string; // JSON
  key_: string;
}

export interface Members {
  ids: string[];
  hash: Record<string, unknown>;
}

// A link calls these until it is closed or has said that it is down, and never from within a call of its own functions.
export interface LinkEvents {
  up_(socketId: string): void;
  // The code is a WebSocket's close code; the reason what the server says.
  down_(code: number, reason?: string): void;
  subscribed_(channel: string, recovered: boolean, id?: string, members?: Members): void;
  refused_(channel: string, status: number, reason: string): void;
  message_(channel: string, event: string, data: string, id?: string, base64?: boolean, userId?: string): void;
  // A position without a message.
  position_(channel: string, id: string): void;
  member_(channel: string, joined: boolean, id: string, info?: unknown): void;
  acknowledged_(ref: number, id: string): void;
  rejected_(ref: number, status: number, reason: string): void;
  error_(reason: string, channel?: string): void;
}

export interface Link {
  // How many messages may wait for their acknowledgement.
  window_: number;
  // Channels are authorized by a signature, otherwise by the request.
  signed_: boolean;
  subscribe_(channel: string, since: string, authorization?: Authorization): void;
  unsubscribe_(channel: string): void;
  publish_(publication: Publication): void;
  // Make sure that it still works.
  check_(): void;
  close_(): void;
}

// Close codes that the client gives itself.
export const Lost = 1006;
export const ComeBack = 1012;
export const Busy = 1013;
export const TooLarge = 1009;
