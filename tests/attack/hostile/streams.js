// Event streams and long-polls, most of them over HTTP/2, that are reset, not read, or read slowly; and those in locations where
// another module stands between them and the socket.
import http2 from 'node:http2';
import { flag, frame, Http2, type } from '../support/http2.js';
import { oddPlaces } from '../support/target.js';
import { handshake, text } from '../support/websocket.js';

const big = 'z'.repeat(50_000);
const events = { Accept: 'text/event-stream' };

export const streams = {
  // A frame of the stream is half sent when it is reset; others' events then go where it was.
  async 'resets-of-half-sent-streams'(visit) {
    const client = new Http2(visit, visit.random.pick(['h2narrow', 'h2', 'tls']), {
      window: visit.random.pick([1000, 65535, 0x3fff0000]),
    });
    const channel = `long.${visit.name}`;
    const numbers = Array.from({ length: 4 }, () => client.events(`/sub/${channel}`));
    await visit.until(() => client.socket.gone || numbers.every(number => client.streams.get(number).answered));
    client.socket.pause();
    await visit.publish(channel, Array(12).fill(big));
    for (const number of numbers) {
      client.reset(number);
      await visit.publish(`long.others-${visit.name}`, [big]);
    }
    client.socket.resume();
    await visit.pause(200);
  },

  async 'windows-of-nothing'(visit) {
    const client = new Http2(visit, visit.random.pick(['h2', 'h2narrow', 'tls']), { window: 0, connectionWindow: 1 });
    const paths = [`/sub/${visit.name}`, '/status?format=events', `/status?watch=${visit.name}&app=shop`];
    const numbers = visit.random.shuffled(paths).map(path => client.events(path));
    numbers.push(client.open(`/sub/${visit.name}`), client.open('/status?format=json'), client.open('/status?file=app.js'));
    await visit.publish(visit.name, Array(10).fill(big));
    for (const number of numbers) {
      await visit.pause(30);
      visit.random.pick([
        () => client.grant(number, 1),
        () => client.reset(number),
        () => client.grant(number, 20_000),
        () => {},
      ])();
    }
    await visit.pause(visit.random.int(2000));
    visit.random.chance(0.5) && numbers.forEach(number => client.grant(number, 100_000));
    await visit.pause(100);
  },

  // More comes than may wait: we close the stream, and half of a frame is still to be sent.
  async 'slow-readers-over-http/2'(visit) {
    const client = new Http2(visit, visit.random.pick(['h2narrow', 'tls']), { window: 0x3fff0000 });
    const channel = `long.slow-${visit.name}`;
    client.events(`/sub/${channel}`);
    client.events(`/status?watch=${channel}&app=shop`);
    await visit.until(() => client.socket.gone || client.streams.get(1).answered);
    client.socket.pause();
    await visit.publish(channel, Array(32).fill(big));
    await visit.publish(`long.others-${visit.name}`, [big, big]);
    while (!visit.over && !client.socket.gone) {
      client.socket.resume();
      await visit.pause(3);
      client.socket.pause();
      await visit.pause(40);
    }
  },

  async 'many-streams-soon-reset'(visit) {
    const client = new Http2(visit, visit.random.pick(['h2', 'tls']));
    for (let i = 0; i < 150 && !visit.over && !client.socket.gone; ++i) {
      const number = client.events(
        visit.random.pick([
          `/sub/${visit.name}`,
          `/proxied/sub/${visit.name}`,
          '/status?format=events',
          `/mirror/sub/${visit.name}`,
        ]),
      );
      visit.random.chance(0.3) && (await visit.pause(visit.random.int(4)));
      visit.random.chance(0.9) && client.reset(number, visit.random.int(14));
    }
    visit.random.chance(0.5) && client.goAway();
    await visit.pause(100);
  },

  async 'publishes-that-are-reset'(visit) {
    const client = new Http2(visit, visit.random.pick(['h2', 'h2narrow', 'tls']));
    for (let i = 0; i < 20 && !visit.over; ++i) {
      const path = visit.random.pick([
        `/stored/rabbit.${visit.name}`,
        `/broker/rabbit.${visit.name}`,
        `/stored/lite.${visit.name}`,
        `/pub/${visit.name}`,
      ]);
      const number = client.open(path, {
        method: 'POST',
        more: true,
        headers: visit.random.chance(0.3) ? { 'content-length': '10' } : {},
      });
      client.data(number, 'a body', visit.random.chance(0.7));
      visit.random.chance(0.5) && (await visit.pause(visit.random.int(10)));
      visit.random.chance(0.5) && client.reset(number);
    }
    await visit.pause(100);
  },

  async 'frames-of-http/2-that-nobody-sends'(visit) {
    const client = new Http2(visit, 'h2');
    client.events(`/sub/${visit.name}`);
    const headers = client.open(`/sub/${visit.name}`, { more: true });
    const odd = [
      () => frame(type.ping, 0, 0, Buffer.alloc(8)),
      () => frame(type.ping, 0, 0, Buffer.alloc(7)),
      () => frame(type.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, visit.random.int(256)])),
      () => frame(type.settings, 0, 0, Buffer.from([0, 4, 255, 255, 255, 255])),
      () => frame(type.window, 0, 1, Buffer.from([0x7f, 255, 255, 255])),
      () => frame(type.window, 0, 0, Buffer.alloc(4)),
      () => frame(type.priority, 0, 1, Buffer.from([0, 0, 0, visit.random.int(8), 1])),
      () => frame(type.continuation, 0, 1, Buffer.from('x')),
      () => frame(type.headers, flag.endHeaders, 99, visit.random.bytes(40)),
      () => frame(type.data, 0, headers, visit.random.bytes(100)),
      () =>
        frame(visit.random.int(256), visit.random.int(256), visit.random.int(8), visit.random.bytes(visit.random.int(30))),
      () => visit.random.bytes(50),
    ];
    for (let i = 0; i < 40 && !visit.over && !client.socket.gone; ++i) {
      const bytes = visit.random.pick(odd)();
      client.send(visit.random.chance(0.1) ? Buffer.concat(Array(200).fill(bytes)) : bytes);
      await visit.pause(2);
    }
  },

  async 'long-polls-read-byte-by-byte'(visit) {
    const channel = `long.poll-${visit.name}`;
    await visit.publish(channel, Array(20).fill(big));
    const client = new Http2(visit, 'h2', { window: 100 });
    const number = client.open(`/sub/${channel}?since=earliest`);
    const waiting = client.open(`/sub/${visit.name}`);
    const slow = visit.tcp('narrow');
    visit.write(slow, visit.request('GET', `/sub/${channel}?since=earliest`));
    while (!visit.over) {
      slow.pause();
      client.grant(number, visit.random.int(1, 3000));
      visit.random.chance(0.1) && client.grant(waiting, 1);
      await visit.pause(30);
      slow.resume();
      await visit.pause(2);
    }
  },

  async 'streams-of-a-library-destroyed'(visit) {
    const { ports } = visit.target;
    const session = http2.connect(visit.random.pick([`http://127.0.0.1:${ports.h2}`, `https://127.0.0.1:${ports.tls}`]), {
      rejectUnauthorized: false,
    });
    session.on('error', () => {});
    for (let i = 0; i < 10 && !visit.over && !session.destroyed && !session.closed; ++i) {
      const request = session.request({
        ':path': visit.random.pick([`/sub/${visit.name}`, '/status?format=events', '/status?format=html']),
        accept: 'text/event-stream',
      });
      request
        .on('error', () => {})
        .on('response', () => {
          ++visit.answers;
        });
      visit.random.chance(0.5) && request.resume();
      await visit.pause(visit.random.int(60));
      visit.random.chance(0.6) && request.close(visit.random.int(12));
    }
    await visit.publish(visit.name, [big, 'small']);
    await visit.pause(100);
    session.destroy();
  },

  // Whatever stands in between: the subscriber leaves, does not read, or waits for its answer.
  async 'odd-places'(visit) {
    for (const place of visit.random.shuffled(Object.keys(oddPlaces)).slice(0, 5)) {
      const sockets = [];
      for (const port of ['plain', 'narrow']) {
        for (const bytes of [
          visit.request('GET', `/${place}/sub/${visit.name}`, undefined, events),
          visit.request('GET', `/${place}/sub/${visit.name}`),
          visit.request('HEAD', `/${place}/sub/${visit.name}`, undefined, events),
          handshake(`/${place}/ws/${visit.name}`),
          visit.request('POST', `/${place}/pub/${visit.name}`, 'hello'),
        ]) {
          const socket = visit.tcp(port);
          visit.write(socket, bytes);
          visit.random.chance(0.2) && visit.leave(socket);
          visit.random.chance(0.2) && socket.pause();
          sockets.push(socket);
        }
      }
      const client = new Http2(visit, visit.random.pick(['h2', 'h2narrow', 'tls']));
      const numbers = [client.events(`/${place}/sub/${visit.name}`), client.open(`/${place}/sub/${visit.name}`)];
      visit.random.chance(0.5) && client.reset(visit.random.pick(numbers));
      await visit.publish(visit.name, ['a tale', '<!--# include virtual="/comment" -->', big]);
      await visit.pause(visit.random.int(400));
      sockets.forEach(socket => visit.random.chance(0.5) && visit.leave(socket));
      visit.leave(client.socket);
    }
  },

  async 'through-a-proxy-gone-at-once'(visit) {
    for (let i = 0; i < 6 && !visit.over; ++i) {
      const socket = visit.tcp('plain');
      visit.write(
        socket,
        visit.random.pick([
          visit.request('GET', `/proxied/sub/${visit.name}`, undefined, events),
          visit.request('GET', `/proxied/sub/${visit.name}`),
          Buffer.concat([Buffer.from(handshake(`/proxied/ws/${visit.name}`)), text('hello')]),
          visit.request('POST', `/proxied/stored/lite.${visit.name}`, 'x'),
        ]),
      );
      await visit.pause(visit.random.int(80));
      visit.leave(socket);
    }
  },

  // Bytes behind the request, half a close, several requests at a time.
  async 'polls-that-say-more-than-they-should'(visit) {
    const poll = visit.request('GET', `/sub/${visit.name}`);
    for (const more of [
      Buffer.from('xx'),
      poll,
      visit.request('POST', `/pub/${visit.name}`, 'hello'),
      Buffer.from(handshake(`/ws/${visit.name}`)),
      Buffer.alloc(9000),
    ]) {
      const socket = visit.tcp(visit.random.pick(['plain', 'narrow']));
      visit.write(
        socket,
        Buffer.concat([
          visit.random.chance(0.3) ? visit.request('GET', `/sub/${visit.name}`, undefined, events) : poll,
          more,
        ]),
      );
      visit.random.chance(0.4) && socket.end();
      await visit.pause(visit.random.int(100));
      visit.random.chance(0.5) && visit.leave(socket);
    }
    await visit.publish(visit.name, ['news']);
    await visit.pause(100);
  },

  // History that has to be fetched from RabbitMQ, for those who do not wait for it.
  async 'ordered-channels'(visit) {
    const channel = `ordered.${visit.random.pick(['a', 'b', visit.name])}`;
    for (let i = 0; i < 10 && !visit.over; ++i) {
      const since = visit.random.pick(['earliest', 'latest', `${visit.random.word(6)}-5`, '']);
      const client = new Http2(visit, visit.random.pick(['h2', 'h2narrow', 'tls']));
      const numbers = [client.events(`/sub/${channel}?since=${since}`), client.open(`/sub/${channel}?since=${since}`)];
      const socket = visit.tcp(visit.random.pick(['plain', 'narrow']));
      visit.write(
        socket,
        visit.random.pick([
          handshake(`/ws/${channel}?since=${since}`),
          visit.request('GET', `/sub/${channel}?since=${since}`, undefined, events),
          visit.request('POST', `/stored/${channel}`, 'o'.repeat(visit.random.int(1, 30_000))),
        ]),
      );
      const post = client.open(`/pub/${channel}`, { method: 'POST', more: true });
      client.data(post, 'ordered', true);
      await visit.pause(visit.random.int(150));
      visit.random.chance(0.5) && client.reset(visit.random.pick([...numbers, post]));
      visit.random.chance(0.5) && visit.leave(socket);
      visit.random.chance(0.5) && visit.leave(client.socket);
    }
  },

  async 'status-and-watch'(visit) {
    const paths = [
      '/status?format=events',
      `/status?watch=${visit.name}&app=shop`,
      '/status?format=html',
      '/status?format=prometheus',
      '/status?file=../../etc/passwd',
      '/status?file=',
      '/status?watch=',
      '/status?watch=%00',
      `/status?watch=${'x'.repeat(300)}`,
      `/status?watch=${visit.name}&app=nobody`,
      '/status?format=what',
      `/status?watch=${visit.name}&app=shop&since=earliest`,
    ];
    for (let i = 0; i < 12 && !visit.over; ++i) {
      const socket = visit.tcp(visit.random.pick(['plain', 'narrow']));
      visit.write(socket, visit.request('GET', visit.random.pick(paths), undefined, visit.random.chance(0.5) ? events : {}));
      visit.random.chance(0.3) && socket.pause();
      await visit.ask(
        'POST',
        `/status?publish=${visit.name}&app=shop&event=${visit.random.pick(['', 'pusher:error', 'x'.repeat(201), 'fine'])}`,
        big,
      );
      visit.random.chance(0.5) && visit.leave(socket);
    }
  },
};
