// An attack of so many seconds on nginx, and what is true after it. See README.md.
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually } from '../browser/support/nginx.js';
import { channels, kinds, Siege } from './support/siege.js';

const environment = name => process.env[`REALTIME_ATTACK_${name}`];
const seconds = Number(environment('SECONDS') ?? 30);
const seed = environment('SEED') ?? String(Date.now() % 1_000_000);
const rate = Number(environment('RATE') ?? 8);
const not = environment('NOT')?.split(',') ?? [];
const only = (environment('ONLY')?.split(',') ?? Object.keys(kinds)).filter(kind => !not.includes(kind));
const sanitized = process.env.REALTIME_TEST_NGINX !== undefined;
const began = Date.now();
const say = text => console.log(`${((Date.now() - began) / 1000).toFixed(0).padStart(5)} s  ${text}`);

// Lines of the error log that tell of a mistake of ours.
function complaints(log, killed) {
  return log
    .split('\n')
    .filter(line => /\[(alert|emerg|crit)\]|AddressSanitizer|runtime error:|exited on signal|exited with fatal/.test(line))
    .filter(line => ![...killed].some(pid => line.includes(`worker process ${pid} exited on signal 9`)))
    .filter(line => !/\[crit\].*SSL_(do_handshake|read|shutdown)\(\) failed/.test(line)); // rubbish instead of TLS
}

// Of each mistake that a sanitizer has reported, the first report.
function reports(log) {
  const all = new Map();
  const addresses = log.matchAll(/==\d+==ERROR: AddressSanitizer[^]*?\nSUMMARY: (.*)/g);
  const behaviour = log.matchAll(/^(\S+): runtime error:.*(\n +#.*)*/gm);
  for (const [report, place] of [...addresses, ...behaviour]) {
    all.set(place, all.get(place) ?? report.slice(0, 6000));
  }
  return [...all.values()];
}

// Fails with the first of them, if there are any.
function none(list, what) {
  assert.ok(list.length === 0, `${list.length} ${what}:\n${list.slice(0, 20).join('\n')}`);
}

test(`${seconds} seconds of attack, seed ${seed}, ${rate} visits a second`, async t => {
  const siege = new Siege({ seconds, seed, rate, only, say });
  t.after(() => siege.close());
  for (const signal of ['SIGINT', 'SIGTERM']) {
    process.once(signal, () => siege.close().finally(() => process.exit(1)));
  }
  await siege.start();
  const { target } = siege;
  say(`begins, with seed ${seed}`);

  // In the first part the servers have troubles of their own. The second is for what only time shows: nothing may grow then.
  const end = Date.now() + seconds * 1000;
  const calm = Date.now() + seconds * 600;
  await t.test('it holds out, whatever happens to the servers', async () => {
    await Promise.all([siege.visitUntil(calm), siege.troubleUntil(calm)]);
  });
  await t.test('nothing of a visit stays behind', async () => none(await siege.left(), 'of these are not so'));
  const rounds = [];
  await t.test('it goes on', async () => {
    while (rounds.length < 2 || Date.now() < end) {
      await siege.visitOnce();
      none(await siege.left(), 'of these are not so');
      rounds.push(siege.figures());
      say(`memory ${rounds.at(-1).memory} KiB, descriptors ${rounds.at(-1).descriptors}`);
    }
  });
  await t.test('memory and descriptors are as before', () => {
    const sum = list => list.reduce((total, one) => total + one, 0);
    assert.ok(rounds.length > 1, 'there is something to compare');
    const [first, last] = [rounds[0], rounds.at(-1)];
    const allowed = sanitized ? 0.5 * sum(first.memory) + 100_000 : 0.1 * sum(first.memory) + 8000;
    assert.ok(
      sum(last.memory) <= sum(first.memory) + allowed,
      `KiB of the workers' own: ${first.memory}, then ${last.memory}`,
    );
    last.descriptors.forEach((count, i) => {
      assert.ok(
        count <= first.descriptors[i] + 12,
        `descriptors of master and workers: ${first.descriptors}, then ${last.descriptors}`,
      );
    });
  });
  await t.test('what was published is published once, and stored', async () => {
    await siege.stopPublishing();
    const { published } = siege;
    say(`published ${JSON.stringify(published)}, repeated ${siege.publishers.map(({ repeated }) => repeated)}`);
    none(
      siege.publishers.flatMap(({ problems }) => problems),
      'problems of publishers',
    );
    channels.forEach(channel =>
      assert.ok(
        published[channel] >= Math.min(seconds, 60),
        `in ${channel} there is room for messages: ${published[channel]}`,
      ),
    );
    let count;
    await eventually(
      async () => {
        count = await target.messagesIn('attack.good').catch(() => -1);
        return count >= published['good-2'];
      },
      () => `RabbitMQ has ${published['good-2']} messages of good-2: ${count}`,
      60_000,
    );
    assert.equal(target.rowsOf('good-3'), published['good-3']);
  });
  await t.test('every subscriber has got all of it, in order, once', async () => {
    none(await siege.missing(), 'subscribers lack messages');
    none(
      siege.subscribers.flatMap(({ problems }) => problems),
      'problems of subscribers',
    );
  });
  await t.test('nobody was told what was for others, or kept waiting', () => {
    none(siege.problems, 'problems of visits');
  });
  await t.test('each kind of visit was answered', () => {
    none(
      siege.only.filter(kind => siege.answered[kind] === 0),
      'kinds had no answer',
    );
  });
  await t.test('nobody stays behind', async () => {
    siege.stopSubscribing();
    let seen;
    await eventually(
      async () => {
        seen = (await target.status()).connections;
        return seen.websocket + seen.sse + seen.longpoll === 0;
      },
      () => `all have gone: ${JSON.stringify(seen)}`,
      60_000,
    );
  });
  await t.test('nginx ends well, with nothing to complain of', async () => {
    await target.stop();
    const log = target.nginx.errorLog();
    say(`troubles: ${siege.events.join(', ')}`);
    none(reports(log), 'reports of sanitizers');
    none(complaints(log, target.killed), 'lines of the error log');
    assert.equal(target.nginx.process.exitCode, 0);
  });
});
