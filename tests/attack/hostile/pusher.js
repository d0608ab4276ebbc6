// Clients of the Pusher protocol, and servers on its REST API, that take what they can get.
import { createHmac } from 'node:crypto';
import { signedQuery } from '../../clients/support/rest.js';
import { authorization, lobby } from '../support/citizens.js';
import { app, strangers } from '../support/target.js';
import { frame, opcode, text } from '../support/websocket.js';

const subscribe = (channel, more = {}) => text({ event: 'pusher:subscribe', data: { channel, ...more } });
const unsubscribe = channel => text({ event: 'pusher:unsubscribe', data: { channel } });
const ping = text({ event: 'pusher:ping', data: {} });
const sign = (signed, secret) => createHmac('sha256', secret).update(signed).digest('hex');

// Until all that was said has been heard.
async function heard(visit, socket) {
  const pongs = () => socket.frames.filter(([, payload]) => payload.includes('pusher:pong')).length;
  socket.frames.length = 0;
  visit.write(socket, ping);
  await visit.until(() => socket.gone || pongs() > 0);
}

function member(socket, channel, user, info = {}) {
  return subscribe(channel, authorization(socket.socketId, channel, JSON.stringify({ user_id: user, user_info: info })));
}

function signIn(socket, user) {
  const data = JSON.stringify(user);
  return text({
    event: 'pusher:signin',
    data: { auth: `${app.key}:${sign(`${socket.socketId}::user::${data}`, app.secret)}`, user_data: data },
  });
}

const signedPath = (method, path, body, { key, secret, parameters } = {}) =>
  `${path}?${signedQuery(method, path, body, { credentials: { key: key ?? app.key, secret: secret ?? app.secret }, parameters })}`;

export const pusher = {
  async 'storms-of-subscriptions'(visit) {
    const socket = await visit.pusher(app.key, { port: visit.random.pick(['plain', 'narrow', 'tls']) });
    for (let i = 0; socket && i < 10 && !visit.over; ++i) {
      const storm = Array.from({ length: 100 }, (_, n) => [
        subscribe(`storm-${visit.name}-${i}-${n}`),
        visit.random.chance(0.8) ? unsubscribe(`storm-${visit.name}-${i}-${n}`) : ping,
      ]);
      visit.write(socket, Buffer.concat(storm.flat()));
      await heard(visit, socket);
    }
  },

  async 'the-whole-history-again-and-again'(visit) {
    const channel = `long-${visit.name}`;
    await visit.publish(channel, Array(20).fill('h'.repeat(5000)));
    const socket = await visit.pusher(app.key);
    for (let i = 0; socket && i < 10 && !visit.over; ++i) {
      visit.write(
        socket,
        Buffer.concat(
          Array(3)
            .fill([subscribe(channel, { since: 'earliest' }), unsubscribe(channel)])
            .flat(),
        ),
      );
      await heard(visit, socket);
    }
    for (let i = 0; i < 5 && !visit.over; ++i) {
      const again = visit.tcp('plain');
      visit.write(again, visit.request('GET', `/sub/${channel}?since=earliest`, undefined, { Accept: 'text/event-stream' }));
      await visit.pause(20);
      visit.leave(again);
    }
  },

  // One signature, used a hundred times, beside members who are told each time.
  async 'members-who-come-and-go'(visit) {
    const channel = `presence-flap-${visit.name}`;
    const members = [];
    for (let i = 0; i < 6; ++i) {
      const socket = await visit.pusher(app.key);
      socket && visit.write(socket, member(socket, channel, `user-${i % 4}`, { x: 'i'.repeat(900) }));
      socket && members.push(socket);
    }
    const flapping = members[0];
    for (let i = 0; flapping && i < 5 && !visit.over; ++i) {
      const once = [member(flapping, channel, 'user-0', { n: i }), unsubscribe(channel)];
      visit.write(flapping, Buffer.concat(Array(20).fill(once).flat()));
      await heard(visit, flapping);
    }
    members.forEach(socket => visit.leave(socket));
  },

  // In the lobby of those who behave; who has left is gone from it.
  async 'visitors-of-the-lobby'(visit) {
    const socket = await visit.pusher(app.key, { port: visit.random.pick(['plain', 'tls']) });
    if (socket) {
      visit.write(socket, member(socket, lobby, `visitor-${visit.name}`));
      visit.random.chance(0.3) && visit.write(socket, unsubscribe(lobby));
      await visit.pause(visit.random.int(300));
    }
  },

  async 'sign-ins-and-watchlists'(visit) {
    const socket = await visit.pusher(app.key);
    for (let i = 0; socket && i < 10 && !visit.over && !socket.gone; ++i) {
      const watchlist = Array.from({ length: visit.random.pick([0, 3, 100, 101]) }, (_, n) => `watched-${visit.name}-${n}`);
      visit.write(
        socket,
        visit.random.pick([
          () => signIn(socket, { id: `user-${i}`, watchlist }),
          () => signIn(socket, { id: 'same', watchlist }),
          () => signIn(socket, { id: '' }),
          () => signIn(socket, { id: 5, watchlist: 'x' }),
          () => text({ event: 'pusher:signin', data: { auth: 'shopkey:00', user_data: '{"id":"x"}' } }),
          () => text({ event: 'pusher:signin', data: 'x' }),
          () => signIn(socket, ['id']),
        ])(),
      );
      await heard(visit, socket);
    }
    await visit.ask('POST', signedPath('POST', '/apps/shop/users/same/terminate_connections', '{}'), '{}');
  },

  async 'messages-that-are-not-quite-json'(visit) {
    const nested = depth =>
      `{"event":"pusher:subscribe","data":{"channel":"x","deep":${'['.repeat(depth)}${']'.repeat(depth)}}}`;
    const odd = [
      nested(50),
      nested(500),
      nested(9000),
      '{',
      '""',
      'null',
      '[]',
      '{"event":5}',
      '{"event":"pusher:subscribe"}',
      '{"event":"pusher:subscribe","data":{"channel":null}}',
      '{"event":"\\ud800"}',
      `{"event":"${'e'.repeat(300)}","channel":"x","data":"y"}`,
      '{"event":"client-x","channel":"private-x","data":{"a":"\\u0000"}}',
      '{"event":"pusher:ping","event":"pusher:subscribe","data":{"channel":"twice"}}',
      `{"event":"pusher:subscribe","data":${'{"channel":"x"}'.repeat(3)}}`,
      `{"event":"pusher:subscribe","data":{"channel":"${'c'.repeat(201)}"}}`,
      '{"event":"realtime:publish","data":{"ref":[],"channel":"open.x"}}',
      '{"event":"pusher:unsubscribe","data":{"channel":"never"}}',
      '{"event":"pusher:subscribe","data":{"channel":"x","since":5}}',
    ];
    const socket = await visit.pusher(app.key);
    for (let i = 0; socket && i < 12 && !visit.over && !socket.gone; ++i) {
      const message = visit.random.pick(odd);
      visit.write(
        socket,
        visit.random.chance(0.4) ? frame(opcode.text, visit.random.mutated(Buffer.from(message))) : text(message),
      );
      await heard(visit, socket);
    }
  },

  async 'floods-of-client-events'(visit) {
    const channel = `private-${visit.name}`;
    const sockets = [await visit.pusher(app.key), await visit.pusher(app.key)].filter(Boolean);
    for (const socket of sockets) {
      visit.write(socket, subscribe(channel, authorization(socket.socketId, channel)));
      await heard(visit, socket);
    }
    for (const socket of sockets) {
      const event = (to, name = 'client-flood') =>
        text({ event: name, channel: to, data: 'f'.repeat(visit.random.int(11_000)) });
      visit.write(
        socket,
        Buffer.concat([
          ...Array.from({ length: 60 }, () => event(channel)),
          event('private-other'),
          event(lobby),
          event('good-1'),
          event(channel, 'pusher:x'),
        ]),
      );
    }
    await visit.pause(200);
  },

  async 'clients-who-publish'(visit) {
    const socket = await visit.pusher(app.key);
    for (let i = 0; socket && i < 10 && !visit.over; ++i) {
      const publish = (channel, more = {}) =>
        text({ event: 'realtime:publish', data: { ref: i, channel, event: 'e', data: 'd', ...more } });
      const names = ['pusher:x', 'pusher_internal:member_added', 'realtime:gap', '', 'x'.repeat(201)];
      visit.write(
        socket,
        Buffer.concat(
          Array.from({ length: 40 }, (_, n) =>
            visit.random.pick([
              () => publish(`open.${visit.name}`, { key: `${visit.name}-${i}-${n}` }),
              () => publish(`open.${visit.name}`, { key: `good-1:${n}` }),
              () => publish(`open.${visit.name}`, { key: '' }),
              () => publish(`open.${visit.name}`, { key: 'k'.repeat(256) }),
              () => publish('closed'),
              () => publish(`open.${visit.name}`, { event: visit.random.pick(names) }),
              () => publish('#server-to-user-x'),
              () => publish(`open.${visit.name}`, { data: { not: 'text' } }),
            ])(),
          ),
        ),
      );
      await heard(visit, socket);
    }
  },

  async 'signatures-that-are-wrong'(visit) {
    const socket = await visit.pusher(app.key);
    for (const channel of socket
      ? [
          'private-a',
          'presence-a',
          'private-encrypted-a',
          'presence-cache-a',
          '#server-to-user-a',
          'private-',
          'presence-lobby',
        ]
      : []) {
      const good = authorization(socket.socketId, channel, channel.startsWith('presence') ? '{"user_id":"x"}' : undefined);
      const bad = visit.random.pick([
        {},
        { auth: '' },
        { auth: 'shopkey' },
        { auth: `other:${good.auth.slice(8)}` },
        { auth: `${good.auth}0` },
        { auth: 5 },
        { ...good, channel_data: '{"user_id":"y"}' },
        { ...good, channel_data: {} },
        authorization('1.1', channel, '{}'),
      ]);
      visit.write(socket, subscribe(channel, bad));
      const odd = visit.random.pick([
        '{}',
        '{"user_id":""}',
        '[]',
        'null',
        '{"user_id":{}}',
        `{"user_id":"${'u'.repeat(200)}"}`,
        `{"user_id":"u","user_info":"${'i'.repeat(2000)}"}`,
      ]);
      channel.startsWith('presence-') &&
        visit.write(socket, subscribe(channel, authorization(socket.socketId, channel, odd)));
      await heard(visit, socket);
    }
  },

  async 'doors-that-are-closed'(visit) {
    const targets = [
      '/app/nobody',
      '/app/closedkey',
      '/app/',
      '/app/shopkey?protocol=3',
      '/app/shopkey?protocol=99',
      '/app/shopkey/x',
      '/app/shop%00key',
      `/app/${'k'.repeat(400)}`,
      '/app/shopkey?protocol=7&protocol=8',
    ];
    for (let i = 0; i < 10 && !visit.over; ++i) {
      const socket = await visit.webSocket(visit.random.pick(targets), {
        headers: visit.random.chance(0.3) ? { Origin: 'http://else.where' } : {},
      });
      socket && visit.write(socket, subscribe('x'));
      socket && (await visit.until(() => socket.gone || socket.frames.length > 0));
    }
  },

  async 'more-connections-than-may-be'(visit) {
    const sockets = [];
    for (let i = 0; i < 70 && !visit.over; ++i) {
      const socket = await visit.webSocket(`/app/${strangers.key}`);
      socket && sockets.push(socket);
      socket && visit.write(socket, subscribe(visit.name));
    }
    sockets.forEach(socket => visit.leave(socket));
  },

  async 'many-channels-on-a-connection-that-is-lost'(visit) {
    const socket = await visit.pusher(app.key);
    for (let i = 0; socket && i < 6 && !visit.over; ++i) {
      const kinds = ['', 'cache-', 'private-', 'presence-', 'presence-cache-'];
      visit.write(
        socket,
        Buffer.concat(
          Array.from({ length: 40 }, (_, n) => {
            const channel = `${kinds[n % 5]}lost-${visit.name}-${i}-${n}`;
            return kinds[n % 5].startsWith('pr')
              ? subscribe(
                  channel,
                  authorization(
                    socket.socketId,
                    channel,
                    kinds[n % 5].startsWith('presence') ? '{"user_id":"lost"}' : undefined,
                  ),
                )
              : subscribe(channel);
          }),
        ),
      );
      await heard(visit, socket);
    }
    socket && visit.leave(socket, 'reset');
  },

  // More channels and members than the zone has room for: each is refused by itself, and the connection stays.
  async 'more-than-a-zone-takes'(visit) {
    const socket = await visit.pusher(strangers.key);
    for (let i = 0; socket && i < 12 && !visit.over && !socket.gone; ++i) {
      const names = Array.from({ length: 100 }, (_, n) => `${n % 10 === 0 ? 'presence-' : ''}full-${visit.name}-${i}-${n}`);
      const info = { user_id: 'stranger', user_info: 'i'.repeat(visit.random.int(8000)) };
      visit.write(
        socket,
        Buffer.concat(
          names.map(name => {
            const signed = authorization(socket.socketId, name, JSON.stringify(info), strangers);
            return subscribe(name, name.startsWith('presence-') ? signed : {});
          }),
        ),
      );
      await heard(visit, socket);
    }
    await visit.ask('POST', `/strangers/new-${visit.name}`, 'x'.repeat(50_000));
    await visit.ask('GET', `/strangers/other-${visit.name}`, undefined, { Accept: 'text/event-stream' });
  },

  async 'abuse-of-the-rest-api'(visit) {
    const event = more => JSON.stringify({ name: 'e', channel: `rest-${visit.name}`, data: 'd', ...more });
    const bodies = [
      event(),
      event({ data: 'x'.repeat(11_000) }),
      event({ channels: Array.from({ length: 101 }, (_, n) => `c${n}`) }),
      event({ channels: 5 }),
      event({ name: '' }),
      event({ name: 'pusher:error' }),
      event({ channel: 'a b' }),
      event({ socket_id: 'x' }),
      event({ info: 'subscription_count,user_count,nonsense' }),
      '{',
      '',
      '[]',
      '{"batch":[]}',
      JSON.stringify({ batch: Array(11).fill({ name: 'e', channel: 'c', data: 'd' }) }),
      'x'.repeat(1_100_000),
      `{"name":"e","channel":"c","data":${'['.repeat(2000)}${']'.repeat(2000)}}`,
      visit.random.mutated(Buffer.from(event())).toString('latin1'),
    ];
    const paths = [
      '/apps/shop/events',
      '/apps/shop/batch_events',
      '/apps/shop/channels',
      '/apps/shop/channels/x',
      '/apps/shop/channels/presence-lobby/users',
      '/apps/shop/users/nobody/terminate_connections',
      '/apps/other/apps/shop/events',
      '/apps/closed/events',
      '/apps/shop/',
      '/apps/',
      '/apps/shop/channels/%ff',
      '/apps/shop/stats',
      '/apps/shop//events',
    ];
    const wrong = [
      {},
      {},
      {},
      { secret: 'wrong' },
      { key: 'nobody' },
      { parameters: { auth_timestamp: 5 } },
      { parameters: { body_md5: 'x' } },
      { parameters: { auth_version: '2.0' } },
      { parameters: { filter_by_prefix: 'presence-', info: 'user_count' } },
      { parameters: { info: 'x'.repeat(3000) } },
    ];
    for (let i = 0; i < 12 && !visit.over; ++i) {
      const [method, path, body] = [
        visit.random.pick(['POST', 'POST', 'GET', 'PUT']),
        visit.random.pick(paths),
        visit.random.pick(bodies),
      ];
      const status = await visit.ask(
        method,
        signedPath(method, path, method === 'GET' ? '' : body, visit.random.pick(wrong)),
        method === 'GET' ? undefined : body,
      );
      if (path === '/apps/other/apps/shop/events' && status === 200) {
        visit.problem('a path with two apps in it reached one');
      }
    }
  },
};
