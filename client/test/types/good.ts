import { connect, RealtimeError, type Member, type Message, type Receipt, type State } from 'nginx-realtime';

const rt = connect('/app/KEY', {
  authorize: async (channel, socketId) => (await fetch('/auth', { method: 'POST', body: `${channel} ${socketId}` })).json(),
  fallback: { subscribe: '/sub/', publish: '/pub/' },
  storage: localStorage,
});
const stop: () => void = rt.subscribe<{ id: number }>('orders', message => console.log(message.data.id.toFixed(), message.id), {
  since: 'earliest',
  onStart: ({ recovered }) => recovered || location.reload(),
  onMembers: (members: Member[]) => members.length,
  onError: error => error.code === 'forbidden',
});
const any = (message: Message) => message.data.whatever;
rt.subscribe('orders', any);
const receipt: Promise<Receipt> = rt.publish('analytics.shop', 'click', { x: 1 }, { key: 'once' });
receipt.catch(error => error instanceof RealtimeError && error.channel);
const state: State = rt.state;
rt.on('state', now => now === state);
rt.on('error', error => error.message)();
stop();
rt.close();
