// With a render function, so that no compiler of templates is needed; in a .vue file the composable is used in the same way.
import { createApp, h } from 'vue';
import { realtime, useChannel, useConnectionState } from './useChannel.js';

createApp({
  setup() {
    const orders = useChannel('orders');
    const state = useConnectionState();
    return () => h('main', { 'data-state': state.value }, [
      h('button', { onClick: () => realtime().publish('orders', 'created', { text: 'from Vue' }) }, 'Order'),
      h('ul', orders.value.map(order => h('li', { key: order.id }, order.data.text))),
    ]);
  },
}).mount('#app');
