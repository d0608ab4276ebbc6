// The application of chat.conf: it knows who is logged in, and signs who may enter a room. It needs nothing but Node.
//
//     node chat-server.mjs SECRET-FILE [PORT]
//
// Here anybody may have any name; an application asks for a password. A name gets a number that nobody chooses, so that
// two people of one name are told apart. Behind TLS, the cookie should be `Secure`.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const key = 'chat';
const [file, port = '3000'] = process.argv.slice(2);
const secret = readFileSync(file, 'utf8').split('\n', 1)[0].trim();

const signed = text => createHmac('sha256', secret).update(text).digest('hex');

// The cookie is the user's id and a signature: nothing has to be remembered here.
const cookieOf = id => `${Buffer.from(id).toString('base64url')}.${signed(`cookie:${id}`)}`;

function userOf(request) {
  const [, text, signature] = /(?:^|; )chat=([\w-]+)\.([0-9a-f]{64})/.exec(request.headers.cookie ?? '') ?? [];
  const id = text && Buffer.from(text, 'base64url').toString();
  return id && timingSafeEqual(Buffer.from(signature), Buffer.from(signed(`cookie:${id}`))) ? id : undefined;
}

async function bodyOf(request) {
  let body = '';
  // Pages of others cannot send this type without asking first.
  if (request.headers['content-type'] !== 'application/json') {
    return {};
  }
  for await (const part of request.setEncoding('utf8')) {
    body += part;
    if (body.length > 4096) {
      return {};
    }
  }
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}

const routes = {
  // Without an id: nobody is logged in.
  'GET /chat/me': request => ({ body: { id: userOf(request) } }),

  'POST /chat/login': async request => {
    const name = String((await bodyOf(request)).name ?? '').trim();
    if (!name || name.length > 24) {
      return { status: 400 };
    }
    const id = `${name}#${randomBytes(3).toString('hex')}`;
    return { body: { id }, cookie: `chat=${cookieOf(id)}; Path=/chat/; HttpOnly; SameSite=Strict` };
  },

  // What the client's `authorize` asks for: may this user enter this room? Here, everybody may enter any.
  'POST /chat/auth': async request => {
    const id = userOf(request);
    const { socket_id: socket, channel_name: channel } = await bodyOf(request);
    if (!id || !/^\d+\.\d+$/.test(socket) || !/^presence-[\w-]{1,40}$/.test(channel)) {
      return { status: 403 };
    }
    const member = JSON.stringify({ user_id: id });
    return { body: { auth: `${key}:${signed(`${socket}:${channel}:${member}`)}`, channel_data: member } };
  },
};

createServer(async (request, response) => {
  try {
    const route = routes[`${request.method} ${request.url}`];
    const { status = 200, body = {}, cookie } = route ? await route(request) : { status: 404 };
    response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store',
      ...cookie && { 'Set-Cookie': cookie } });
    response.end(JSON.stringify(body));
  } catch {
    response.destroy(); // the client has gone in the middle of its request
  }
}).listen(Number(port), '127.0.0.1');
