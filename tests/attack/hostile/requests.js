// Requests of all kinds: bodies, headers, ids, names, origins, half of TLS, and bytes that are no request at all.
import { gzipSync } from 'node:zlib';
import net from 'node:net';
import tls from 'node:tls';
import { handshake } from '../support/websocket.js';

const events = { Accept: 'text/event-stream' };

const ids = random => [
  '1450755280:0',
  'urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
  '0',
  '-1',
  '',
  ' ',
  '-',
  'a-',
  '-1',
  'abc-18446744073709551616',
  `${random.word()}-${random.int(1000)}`,
  'zzzzzzzzzzzzz-1',
  'zzzzzzzzzzzzzzzzzzzzzz-99999999999999999999',
  '7c2kq0-41-1',
  'earliest',
  'latest',
  'EARLIEST',
  '%00',
  '%ff%fe',
  'x'.repeat(3000),
  '1-1,2-2,3-3',
  '0-0',
  `${random.word(13)}-0`,
  '9223372036854775807-9223372036854775807',
  '👻',
];

const names = random => [
  '%00',
  '%0a',
  '%ff',
  '%c3%28',
  'x'.repeat(201),
  '%F0%9F%91%BB',
  '%2f%2f',
  '..%2f..',
  random.word(),
  '%20',
  '%23server-to-user-alice',
  'presence-x',
  'private-x',
  '%23',
  'pusher_internal',
  'cache-x',
  '"',
  '%5c',
  'private-encrypted-x',
  '%ed%a0%80',
  'x'.repeat(200),
];

export const requests = {
  async 'publishers-who-leave'(visit) {
    for (let i = 0; i < 8 && !visit.over; ++i) {
      const place = visit.random.pick([
        '/stored/rabbit.',
        '/broker/rabbit.',
        '/stored/lite.',
        '/broker/lite.',
        '/pub/',
        '/mirror/pub/',
        '/auth/pub/',
      ]);
      const socket = visit.tcp(visit.random.pick(['plain', 'narrow']));
      const bytes = visit.request(
        'POST',
        place + visit.name,
        'y'.repeat(visit.random.int(1, 3000)),
        visit.random.chance(0.5) ? { Connection: 'close' } : {},
      );
      visit.write(socket, bytes.subarray(0, visit.random.chance(0.2) ? visit.random.int(bytes.length) : bytes.length));
      visit.random.chance(0.4) && visit.write(socket, bytes);
      visit.random.chance(0.3) && socket.end();
      await visit.pause(visit.random.pick([0, 0, 5, 100]));
      visit.random.chance(0.7) && visit.leave(socket);
    }
    await visit.pause(300);
  },

  async 'bodies-of-all-kinds'(visit) {
    const chunked = { 'Transfer-Encoding': 'chunked', 'Content-Length': undefined };
    const cases = [
      ['POST', '', {}],
      ['POST', 'x'.repeat(70_000), {}],
      ['POST', 'x'.repeat(1_200_000), {}],
      ['PUT', visit.random.bytes(500), {}],
      ['DELETE', 'x', {}],
      ['POST', gzipSync('packed '.repeat(5000)), { 'Content-Encoding': 'gzip' }],
      ['POST', 'x', { 'Content-Encoding': 'br' }],
      ['POST', 'x'.repeat(70_000), { Expect: '100-continue' }],
      ['POST', 'x', { Expect: '100-continue' }],
      ['POST', 'x', { Expect: 'more' }],
      ['POST', 'x', { 'Content-Length': 1000 }],
      ['POST', 'xxxxx', { 'Content-Length': 2 }],
      ['POST', 'x', { 'Content-Length': -1 }],
      ['POST', '5\r\nhello\r\n0\r\n\r\n', chunked],
      ['POST', 'zz\r\nhello\r\n0\r\n\r\n', chunked],
      ['POST', 'ffffffffffffffff\r\nx', chunked],
      ['POST', '5\r\nhel', chunked],
      ['POST', 'x', { 'Transfer-Encoding': 'chunked' }],
      ['POST', 'x', { 'Content-Type': 'y'.repeat(300) }],
      ['POST', 'x', { 'Idempotency-Key': 'k'.repeat(300) }],
      ['POST', 'x', { 'Idempotency-Key': '' }],
      ['HEAD', undefined, {}],
      ['OPTIONS', undefined, { Origin: 'http://localhost', 'Access-Control-Request-Method': 'POST' }],
      ['PATCH', 'x', {}],
      ['TRACE', undefined, {}],
    ];
    for (const [method, body, headers] of visit.random.shuffled(cases).slice(0, 8)) {
      const socket = visit.tcp(visit.random.pick(['plain', 'plain', 'narrow']));
      await visit.writeInPieces(
        socket,
        visit.request(
          method,
          visit.random.pick(['/pub/', '/stored/lite.', '/ws/', '/sub/', '/accel/']) + visit.name,
          body,
          headers,
        ),
        3,
      );
      await visit.pause(80);
      visit.leave(socket);
    }
  },

  async 'ids-of-all-forms'(visit) {
    await visit.publish(`long.${visit.name}`, ['1', '2', '3']);
    for (let i = 0; i < 15 && !visit.over; ++i) {
      const id = visit.random.pick(ids(visit.random));
      const channel = visit.random.pick([`long.${visit.name}`, visit.name, 'none.x']);
      const socket = visit.tcp('plain');
      const header = Buffer.from(id).toString('latin1');
      const query = encodeURIComponent(id);
      visit.write(
        socket,
        visit.random.pick([
          () => visit.request('GET', `/sub/${channel}`, undefined, { ...events, 'Last-Event-ID': header }),
          () => visit.request('GET', `/sub/${channel}?since=${query}`),
          () => visit.request('GET', `/sub/${channel}?lastEventId=${query}&Last-Event-ID=${query}`, undefined, events),
          () => handshake(`/ws/${channel}?since=${query}`),
          () => visit.request('GET', `/many/?a=${channel}&b=x&c=y&d=z&since=${query}`, undefined, events),
        ])(),
      );
      await visit.pause(40);
      visit.leave(socket);
    }
  },

  async 'names-of-all-forms'(visit) {
    for (let i = 0; i < 15 && !visit.over; ++i) {
      const name = visit.random.pick(names(visit.random));
      const path = visit.random.pick(['/sub/', '/pub/', '/ws/', '/stored/rabbit.', '/strangers/', '/many/?a=x&b=']) + name;
      if (visit.random.chance(0.5)) {
        await visit.ask('POST', path, 'x');
      } else {
        const socket = visit.tcp('plain');
        visit.write(
          socket,
          visit.random.chance(0.5)
            ? handshake(path)
            : visit.request('GET', path, undefined, visit.random.chance(0.5) ? events : {}),
        );
        await visit.pause(30);
        visit.leave(socket);
      }
    }
  },

  // What only the server may say: nobody well-behaved may hear it.
  async 'reserved-names'(visit) {
    const names = [
      'pusher:error',
      'pusher_internal:member_removed',
      'pusher_internal:member_added',
      'pusher_internal:subscription_succeeded',
      'realtime:gap',
      'realtime:ack',
      'pusher:',
      'pusher_internal:',
    ];
    const channels = ['presence-lobby', 'good-1', '%23server-to-user-ann', 'presence-lobby'];
    for (let i = 0; i < 8 && !visit.over; ++i) {
      const [event, channel] = [visit.random.pick(names), visit.random.pick(channels)];
      const body = JSON.stringify({ user_id: 'ann', code: 4001 });
      const statuses = [
        await visit.ask('POST', `/pub/${channel}?e=${event}`, body),
        await visit.ask('POST', `/status?publish=${channel}&app=shop&event=${event}`, body),
      ];
      if (statuses.some(status => status === 200 || status === 202)) {
        visit.problem(`${event} was published on ${channel} (${statuses})`);
      }
    }
    await visit.ask('GET', '/sub/%23server-to-user-ann', undefined, events);
  },

  async 'floods-of-idempotency-keys'(visit) {
    const socket = visit.tcp('plain');
    for (let i = 0; i < 20 && !visit.over; ++i) {
      const many = Array.from({ length: 50 }, (_, n) =>
        visit.request('POST', `/strangers/${visit.name}`, 'x', {
          'Idempotency-Key': visit.random.pick([`${i}.${n}.${visit.name}`, 'same']),
        }),
      );
      visit.write(socket, Buffer.concat(many));
      await visit.pause(30);
    }
  },

  async 'other-origins-and-odd-headers'(visit) {
    const headers = [
      { Origin: 'http://else.where' },
      { Origin: 'null' },
      { Origin: 'https://localhost' },
      { Origin: 'http://localhost:81' },
      { Origin: 'x'.repeat(5000) },
      { 'If-None-Match': '*' },
      { 'If-Modified-Since': 'Sat, 01 Jan 2050 00:00:00 GMT' },
      { 'If-Match': '"x"' },
      { Range: 'bytes=0-1' },
      { 'Accept-Encoding': 'gzip, br' },
      { Accept: 'text/event-stream;q=0' },
      { Accept: '*/*, text/event-stream' },
      { 'X-Forwarded-For': '1.2.3.4, \xff' },
      { Cookie: 'y'.repeat(7000) },
      { Connection: 'Upgrade' },
      { Upgrade: 'h2c', Connection: 'Upgrade, HTTP2-Settings', 'HTTP2-Settings': 'AAMAAABk' },
    ];
    for (let i = 0; i < 12 && !visit.over; ++i) {
      const socket = visit.tcp('plain');
      const path =
        visit.random.pick([
          '/sub/',
          '/ws/',
          '/real/sub/',
          '/counted/sub/',
          '/gzip/sub/',
          '/pub/',
          '/app/',
          '/apps/',
          '/status?x=',
        ]) + visit.name;
      const method = visit.random.pick(['GET', 'GET', 'POST', 'OPTIONS', 'HEAD']);
      const bytes = visit.request(method, path, visit.random.chance(0.3) ? 'x' : undefined, visit.random.pick(headers));
      const version = visit.random.pick(['1.1', '1.1', '1.1', '1.0']);
      visit.write(socket, Buffer.from(bytes.toString('latin1').replace('HTTP/1.1', `HTTP/${version}`), 'latin1'));
      await visit.pause(40);
      visit.leave(socket);
    }
  },

  async 'bytes-at-random'(visit) {
    const sound = [
      visit.request('GET', `/sub/${visit.name}`, undefined, events),
      visit.request('POST', `/pub/${visit.name}`, 'hello'),
      Buffer.from(handshake(`/ws/${visit.name}`)),
      visit.request('POST', `/apps/shop/events?auth_key=shopkey`, '{}'),
      visit.request('GET', '/status'),
    ];
    for (let i = 0; i < 12 && !visit.over; ++i) {
      const socket = visit.tcp(visit.random.pick(['plain', 'h2', 'tls']));
      await visit.writeInPieces(
        socket,
        visit.random.chance(0.2)
          ? visit.random.bytes(visit.random.int(1, 3000))
          : visit.random.mutated(visit.random.pick(sound), 3),
        3,
      );
      await visit.pause(30);
      visit.leave(socket);
    }
  },

  async 'half-of-tls'(visit) {
    for (let i = 0; i < 8 && !visit.over; ++i) {
      // A ClientHello, as OpenSSL sends it, stolen on its way.
      const hello = await new Promise(resolve => {
        const pipe = net
          .createServer(socket =>
            socket
              .once('data', bytes => resolve(bytes))
              .on('error', () => {})
              .unref(),
          )
          .listen(0, '127.0.0.1', () => {
            const client = tls
              .connect({ port: pipe.address().port, host: '127.0.0.1', ALPNProtocols: ['h2', 'http/1.1'] })
              .on('error', () => {});
            setTimeout(() => {
              client.destroy();
              pipe.close();
              resolve(Buffer.alloc(0));
            }, 100).unref();
          });
      });
      const socket = visit.tcp('tls');
      await visit.writeInPieces(
        socket,
        visit.random.pick([
          hello,
          hello.subarray(0, visit.random.int(hello.length + 1)),
          visit.random.mutated(hello),
          Buffer.concat([hello, visit.random.bytes(50)]),
        ]),
        3,
      );
      await visit.pause(visit.random.int(100));
      visit.random.chance(0.5) && visit.leave(socket);
    }
    const whole = visit.tls();
    visit.write(
      whole,
      visit.random.pick([
        visit.request('GET', `/sub/${visit.name}`, undefined, events),
        visit.request('POST', `/stored/rabbit.${visit.name}`, 'x'),
        Buffer.from('GET'),
      ]),
    );
    await visit.pause(50);
    whole.destroy();
  },

  async 'many-channels-at-once'(visit) {
    const name = () => visit.random.pick([visit.name, visit.random.word(), '', 'x'.repeat(201), `long.${visit.name}`]);
    for (let i = 0; i < 8 && !visit.over; ++i) {
      const path = `/many/?a=${name()}&b=${name()}&c=${name()}&d=${name()}`;
      const socket = visit.tcp('plain');
      visit.write(
        socket,
        visit.random.chance(0.5)
          ? handshake(path, { 'Sec-WebSocket-Protocol': 'realtime.json' })
          : visit.request('GET', path, undefined, visit.random.chance(0.5) ? events : {}),
      );
      await visit.pause(30);
      visit.leave(socket);
    }
    await visit.publish(visit.name, ['x']);
  },

  // An id that we were given, for three hundred channels, is taken back.
  async 'ids-for-a-crowd'(visit) {
    let answer = '';
    const socket = visit.tcp('plain', bytes => {
      answer += bytes.toString('latin1');
    });
    visit.write(socket, visit.request('GET', '/crowd'));
    for (let i = 0; i < 3; ++i) {
      await visit.publish(`crowd-${visit.random.int(300)}`, ['news']);
    }
    const given = () => /^Realtime-Last-Id: (.*)\r$/m.exec(answer)?.[1];
    if (!(await visit.until(() => socket.gone || given())) || !given()) {
      return;
    }
    const again = visit.ask('GET', `/crowd?since=${encodeURIComponent(given())}`);
    await visit.publish(`crowd-${visit.random.int(300)}`, ['more news']);
    const status = await again;
    if (![200, 204, undefined].includes(status)) {
      visit.problem(`the id of a crowd was answered with ${status}: ${given().length} bytes`);
    }
  },

  async 'byte-by-byte'(visit) {
    const kinds = [
      Buffer.from(handshake(`/ws/${visit.name}`)),
      visit.request('POST', `/pub/${visit.name}`, 'slowly'),
      visit.request('GET', `/sub/${visit.name}`, undefined, events),
    ];
    await Promise.all(
      kinds.map(async bytes => {
        const socket = visit.tcp(visit.random.pick(['plain', 'narrow']));
        for (let i = 0; i < bytes.length && !visit.over; ++i) {
          visit.write(socket, bytes.subarray(i, i + 1));
          await visit.pause(visit.random.int(20));
        }
      }),
    );
  },
};
