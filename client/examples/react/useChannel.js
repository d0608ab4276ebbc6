// useChannel: the last messages of a channel, for as long as a component shows them.
import { connect } from 'nginx-realtime';
import { useEffect, useState, useSyncExternalStore } from 'react';

// One connection for the whole page, made on first use and never closed.
let connection;
export const realtime = () => (connection ??= connect(window.realtimeUrl ?? '/app/KEY'));

export function useChannel(channel, { keep = 50, since } = {}) {
  const [messages, setMessages] = useState([]);
  useEffect(() => {
    setMessages([]);
    return realtime().subscribe(channel, message => setMessages(all => [...all, message].slice(-keep)), {
      since,
      // A gap: what is shown is not the whole story any more.
      onStart: ({ recovered }) => recovered || setMessages([]),
    });
  }, [channel, keep, since]);
  return messages;
}

export function useConnectionState() {
  return useSyncExternalStore(changed => realtime().on('state', changed), () => realtime().state);
}
