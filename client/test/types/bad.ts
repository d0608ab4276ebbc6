import { connect } from 'nginx-realtime';

const rt = connect('/app/KEY');
rt.state = 'connected'; // wrong
rt.subscribe('orders', 'no function'); // wrong
rt.subscribe('orders', () => {}, { sinse: 'latest' }); // wrong
rt.on('message', () => {}); // wrong
rt.publish('orders'); // wrong
rt.subscribe<{ id: number }>('orders', message => message.data.name); // wrong
connect('/app/KEY', { fallback: { subscribe: '/sub/' } }); // wrong
