// The connection as a service, and a channel as a signal.
import { DestroyRef, Injectable, inject, signal, type Signal } from '@angular/core';
import { connect, type Message, type Position, type State } from 'nginx-realtime';

@Injectable({ providedIn: 'root' })
export class RealtimeService {
  private readonly connection = connect((globalThis as any).realtimeUrl ?? '/app/KEY');
  private readonly current = signal<State>(this.connection.state);
  readonly state = this.current.asReadonly();

  constructor() {
    this.connection.on('state', state => this.current.set(state));
  }

  publish(channel: string, event: string, data?: unknown) {
    return this.connection.publish(channel, event, data);
  }

  // The last messages, until the component that asked is destroyed. Call it where inject() may be called.
  channel<T = any>(name: string, { keep = 50, since }: { keep?: number; since?: Position } = {}): Signal<Message<T>[]> {
    const messages = signal<Message<T>[]>([]);
    const stop = this.connection.subscribe<T>(name, message => messages.update(all => [...all, message].slice(-keep)), {
      since,
      // A gap: what is shown is not the whole story any more.
      onStart: ({ recovered }) => recovered || messages.set([]),
    });
    inject(DestroyRef).onDestroy(stop);
    return messages.asReadonly();
  }
}
