// Signed requests to the REST API, byte for byte: what an SDK would not send can be sent, too.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import http from 'node:http';
import { app } from './app.js';

export function md5(text) {
  return createHash('md5').update(text).digest('hex');
}

// The query of a request: `parameters` override the usual ones, an undefined one is left out.
export function signedQuery(method, signedPath, body, { credentials = app, parameters = {} } = {}) {
  const all = {
    auth_key: credentials.key, auth_timestamp: Math.floor(Date.now() / 1000), auth_version: '1.0',
    ...body && { body_md5: md5(body) }, ...parameters,
  };
  const { auth_signature: given, ...signed } = all;
  const text = Object.entries(signed).filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name.toLowerCase(), value]).sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`).join('&');
  const signature = 'auth_signature' in all ? given
    : createHmac('sha256', credentials.secret).update(`${method}\n${signedPath}\n${text}`).digest('hex');
  return Object.entries({ ...signed, auth_signature: signature }).filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
}

// Sends exactly this. Each request has a connection of its own, so that each worker gets its share.
export function send(shop, method, target, body = '', headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: shop.port, method, path: target, agent: false,
      headers: { ...body && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }, ...headers } };
    http.request(options, response => {
      const parts = [];
      response.on('data', part => parts.push(part)).on('error', reject).on('end', () => {
        const bytes = Buffer.concat(parts);
        resolve({ status: response.statusCode, headers: response.headers, text: bytes.toString(), bytes });
      });
    }).on('error', reject).end(body);
  });
}

// `path` begins after /apps/<app id>. A body that is not a string is sent as JSON. Every answer is a JSON object.
export async function request(shop, method, path, { body: given = '', id = app.id, headers, signedPath, ...signing } = {}) {
  const body = typeof given === 'string' ? given : JSON.stringify(given);
  const full = `/apps/${id}${path}`;
  const query = signedQuery(method, signedPath ?? decodeURIComponent(full), body, signing);
  const answer = await send(shop, method, `${full}?${query}`, body, headers);
  assert.equal(answer.headers['content-type'], 'application/json', answer.text);
  assert.equal(Number(answer.headers['content-length']), answer.bytes.length);
  answer.json = JSON.parse(answer.text);
  assert.equal(Object.prototype.toString.call(answer.json), '[object Object]');
  return answer;
}
