// useChannel: the last messages of a channel, for as long as a component shows them.
import { connect } from 'nginx-realtime';
import { onScopeDispose, ref, shallowRef, toValue, watch } from 'vue';

// One connection for the whole page, made on first use and never closed.
let connection;
export const realtime = () => (connection ??= connect(window.realtimeUrl ?? '/app/KEY'));

// The channel may be a ref: then another is followed when it changes.
export function useChannel(channel, { keep = 50, since } = {}) {
  const messages = shallowRef([]);
  watch(() => toValue(channel), (name, before, onCleanup) => {
    messages.value = [];
    onCleanup(realtime().subscribe(name, message => {
      messages.value = [...messages.value, message].slice(-keep);
    }, {
      since,
      // A gap: what is shown is not the whole story any more.
      onStart: ({ recovered }) => {
        if (!recovered) {
          messages.value = [];
        }
      },
    }));
  }, { immediate: true });
  return messages;
}

export function useConnectionState() {
  const state = ref(realtime().state);
  onScopeDispose(realtime().on('state', now => {
    state.value = now;
  }));
  return state;
}
