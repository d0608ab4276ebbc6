// Reads a queue of RabbitMQ until nothing has come for a while, and prints each delivery: its message_id, a tab, and its
// body. Of a queue everything is taken away, of a stream (--stream) everything is read from its beginning. Nothing here
// knows what was published: whoever runs it compares.
//
//     node drain.js URL QUEUE [--stream] [--idle=SECONDS]
//
// A connection that is lost is made anew; a delivery is printed before it is acknowledged, so that it may be printed twice,
// but never not at all. Exits with 1 if RabbitMQ cannot be reached for a minute.
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

const Window = 500, Patience = 60_000;

const { values, positionals: [url, queue] } = parseArgs({
  allowPositionals: true,
  options: { stream: { type: 'boolean', default: false }, idle: { type: 'string', default: '3' } },
});
const idle = 1000 * Number(values.idle);
const { connect } = await import('amqplib').catch(() => {
  console.error('amqplib is not installed: run "npm ci" in tests/consumer');
  process.exit(1);
});

function print(text) {
  for (let bytes = Buffer.from(text); bytes.length > 0;) {
    bytes = bytes.subarray(writeSync(1, bytes));
  }
}

// One connection's worth. Resolves when it has been idle; rejects when it is lost.
async function drain() {
  const connection = await connect(url, { timeout: 5000 });
  const lost = new Promise((_, reject) => {
    connection.on('error', reject);
    connection.on('close', () => reject(new Error('the connection was closed')));
  });
  const drained = (async () => {
    const channel = await connection.createChannel();
    channel.on('error', () => {}); // whatever it is closes the channel, and the promises that wait for it reject
    await channel.prefetch(Window);
    let last = Date.now();
    await channel.consume(queue, message => {
      if (message === null) { // RabbitMQ has cancelled it
        connection.close().catch(() => {});
        return;
      }
      print(`${message.properties.messageId}\t${message.content}\n`);
      channel.ack(message);
      last = Date.now();
    }, values.stream ? { arguments: { 'x-stream-offset': 'first' } } : {});
    while (Date.now() - last < idle) {
      await sleep(100);
    }
    await channel.close(); // behind the last acknowledgement
  })();
  drained.catch(() => {});
  lost.catch(() => {});
  try {
    await Promise.race([drained, lost]);
  } finally {
    await connection.close().catch(() => {});
  }
}

for (let deadline = Date.now() + Patience;;) {
  const began = Date.now();
  try {
    await drain();
    process.exit(0);
  } catch (error) {
    if (Date.now() - began > idle) { // it was there for a while
      deadline = Date.now() + Patience;
    }
    if (Date.now() > deadline) {
      console.error(`${queue}: ${error.message}`);
      process.exit(1);
    }
    await sleep(200);
  }
}
