import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { realtime, useChannel, useConnectionState } from './useChannel.js';

function Orders() {
  const orders = useChannel('orders');
  const state = useConnectionState();
  return (
    <main data-state={state}>
      <button onClick={() => realtime().publish('orders', 'created', { text: 'from React' })}>Order</button>
      <ul>{orders.map(order => <li key={order.id}>{order.data.text}</li>)}</ul>
    </main>
  );
}

createRoot(document.getElementById('app')).render(<StrictMode><Orders /></StrictMode>);
