// curl, as a person would use it.
import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import { eventually } from './nginx.js';

const run = promisify(execFile);

export async function post(url, body, headers = []) {
  const { stdout } = await run('curl', ['-sS', '--fail-with-body', '--max-time', '10',
    ...headers.flatMap(header => ['-H', header]), '-d', body, url]);
  return JSON.parse(stdout);
}

// `curl -N` on an event stream; `text` grows.
export class EventStream {
  constructor(url) {
    this.text = '';
    this.process = spawn('curl', ['-sSN', '-H', 'Accept: text/event-stream', url], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.process.stdout.setEncoding('utf8').on('data', data => { this.text += data; });
  }

  shows(part) {
    return eventually(() => this.text.includes(part), `curl shows ${part}; it shows:\n${this.text}`);
  }

  stop() {
    this.process.kill();
  }
}
