// The dashboard. It gets the status once a second as an event stream, keeps an hour of it, and draws it with uPlot.
// Whatever comes from outside is set as text, never as markup; the page's policy (Trusted Types) would refuse it.
'use strict';

(() => {

const KeptSamples = 3600;
const KeptEvents = 200;
const ShownBytes = 4000;          // of one event's data
const LatencySeconds = 10;        // percentiles are of so long a time
const SlowSeconds = 3;            // rates of what workers tell only once a second are of so long a time
const StaleMs = 3500;             // without news, the page says so
const GapMs = 5000;               // a longer pause is a hole in the charts

const $ = id => document.getElementById(id);

function element(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// Not with URLSearchParams, for which a space is a plus: nginx takes that as it is.
const address = query => `?${Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')}`;

// --- numbers as text

function compact(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const units = [[1e9, 'G'], [1e6, 'M'], [1e4, 'k']];
  for (const [size, unit] of units) {
    if (Math.abs(value) >= size) {
      const scaled = value / (unit === 'k' ? 1e3 : size);
      return (scaled >= 100 ? scaled.toFixed(0) : scaled.toFixed(1).replace(/\.0$/, '')) + unit;
    }
  }
  return Number.isInteger(value) || value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(2);
}

function bytes(value) {
  if (value === null || value === undefined) return '–';
  let unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    unit++;
  }
  return `${unit && value < 100 ? value.toFixed(1) : Math.round(value)} ${['B', 'KiB', 'MiB', 'GiB', 'TiB'][unit]}`;
}

function milliseconds(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  if (ms >= 1) return `${ms < 10 ? ms.toFixed(1).replace('.0', '') : Math.round(ms)} ms`;
  return `${Math.round(ms * 1000)} µs`;
}

function duration(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds / 3600) % 24} h`;
}

const percent = value => value === null || value === undefined ? '–' : `${value.toFixed(value < 10 ? 1 : 0)} %`;
const rate = value => value === null || value === undefined ? '–' : `${compact(value)}/s`;
const sum = (object, name) => Object.values(object).reduce((total, one) => total + one[name], 0);

// --- what the samples mean

const samples = [];               // the last ones, as they came
const times = [];                 // seconds, for all charts
const charts = [];

// Growth a second over the last `seconds`; null over a hole, or if counting began anew.
function growth(value, seconds = 1) {
  const last = samples.length - 1;
  const first = Math.max(last - seconds, 0);
  const before = samples[first];
  const elapsed = samples[last].time_ms - before.time_ms;
  const grown = value(samples[last]) - value(before);
  return elapsed > 0 && elapsed < GapMs + seconds * 1000 && grown >= 0 ? grown * 1000 / elapsed : null;
}

// As module/base/latency.cpp does it; milliseconds.
function percentile(counts, bounds, share) {
  const all = counts.reduce((total, count) => total + count, 0);
  if (all <= 0) return null;
  let left = share * all;
  let lower = 0;
  for (let i = 0; i < bounds.length; i++) {
    if (counts[i] > 0 && left <= counts[i]) return (lower + (bounds[i] - lower) * left / counts[i]) / 1000;
    left -= counts[i];
    lower = bounds[i];
  }
  return lower / 1000;
}

function latencies() {
  const last = samples.length - 1;
  const now = samples[last].delivery_latency;
  const before = samples[Math.max(last - LatencySeconds, 0)].delivery_latency;
  const counts = now.bucket_counts.map((count, i) => Math.max(count - before.bucket_counts[i], 0));
  return share => percentile(counts, now.bucket_us, share);
}

const refused = s => s.publish_refused_total;
const invalid = s => s.publish_invalid_total;
const closed = s => s.slow_closed_total + s.timed_out_total + s.protocol_errors_total;
const lost = s => s.gaps_total;
const brokerFailures = s => sum(s.brokers, 'failed_total') + sum(s.brokers, 'refused_total')
  + s.webhooks_refused_total + s.webhooks_dropped_total + s.webhook_failures_total;
const failures = s => refused(s) + invalid(s) + closed(s) + lost(s) + brokerFailures(s);
const queued = s => sum(s.brokers, 'queued');
const spooled = s => sum(s.brokers, 'spool_events');
const connections = s => s.connections.websocket + s.connections.sse + s.connections.longpoll;
const published = s => s.published_http_total + s.published_websocket_total;

// --- charts

const colour = (node, name) => getComputedStyle(node).getPropertyValue(name).trim();

class Chart {
  constructor(title, note, series, { format, logarithmic = false, full = null }) {
    this.series = series;
    this.format = format;
    this.values = series.map(() => []);
    this.keys = series.map((one, i) => element('span', { className: `key c${one.colour ?? i + 1}` }, `${one.label} `, element('b')));
    this.plotNode = element('div', { className: 'plot', tabIndex: 0, role: 'img', 'aria-label': title });
    this.node = element('figure', {},
      element('figcaption', {}, element('h2', {}, `${title} `, element('span', {}, note)), ...this.keys), this.plotNode);
    $('charts').append(this.node);
    const axis = { stroke: () => colour(document.documentElement, '--quiet'), font: '11px system-ui, sans-serif',
      grid: { stroke: () => colour(document.documentElement, '--grid'), width: 1 }, ticks: { show: false } };
    // Of a logarithmic scale only the powers of ten.
    const only = (_, splits) => logarithmic ? splits.map(one => Math.abs(Math.log10(one) - Math.round(Math.log10(one))) < 1e-6 ? one : null) : splits;
    this.plot = new uPlot({
      width: 300, height: 168, legend: { show: false }, padding: [6, 18, 0, 0],
      cursor: { sync: { key: 'realtime' }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      hooks: { setCursor: [() => this.label()] },
      scales: { x: { time: true }, y: logarithmic
        ? { distr: 3, range: (_, low, high) => [low > 0 ? 10 ** Math.floor(Math.log10(low)) : 0.01, high > 0 ? 10 ** Math.ceil(Math.log10(high * 1.01)) : 10] }
        : { range: (_, low, high) => [0, full ?? Math.max(high * 1.15, 1)] } },
      axes: [
        { ...axis, space: 38, size: 24, values: (_, ticks) => ticks.map(tick => new Date(tick * 1000).toLocaleTimeString([], { hour12: false, hour: '2-digit', minute: '2-digit' })) },
        { ...axis, space: 32, size: 56, filter: only, grid: { ...axis.grid, filter: only }, values: (_, ticks) => ticks.map(tick => tick === null ? '' : format(tick)) },
      ],
      series: [{}, ...series.map((one, i) => ({ label: one.label, width: 1.75, points: { show: false },
        stroke: () => colour(this.keys[i], '--key'), fill: series.length === 1 ? () => `${colour(this.keys[i], '--key')}22` : undefined }))],
    }, [[], ...series.map(() => [])], this.plotNode);
    new ResizeObserver(() => this.resize()).observe(this.plotNode);
    this.plotNode.addEventListener('keydown', event => this.onKey(event));
    this.plotNode.addEventListener('blur', () => this.plot.setCursor({ left: -10, top: -10 }));
    charts.push(this);
  }

  resize() {
    const width = this.plotNode.clientWidth;
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: 168 });
  }

  // Left and right move through the samples, as the mouse does.
  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const count = this.plot.data[0].length;
    if (step === undefined || count === 0) return;
    event.preventDefault();
    const from = this.plot.cursor.idx ?? count - 1;
    const index = Math.min(Math.max(from + step, 0), count - 1);
    this.plot.setCursor({ left: this.plot.valToPos(this.plot.data[0][index], 'x'), top: 10 });
  }

  add() {
    this.series.forEach((one, i) => {
      this.values[i].push(one.value() ?? null);
      while (this.values[i].length > KeptSamples) this.values[i].shift(); // with a hole they are two more
    });
  }

  draw(first, from, to) {
    this.plot.setData([times.slice(first), ...this.values.map(values => values.slice(first))], false);
    this.plot.batch(() => {
      this.plot.setScale('x', { min: from, max: to });
    });
    this.label();
  }

  // The values under the cursor, else the newest.
  label() {
    const { data, cursor } = this.plot;
    const index = cursor.left >= 0 && cursor.idx !== null && cursor.idx !== undefined ? cursor.idx : data[0].length - 1;
    this.keys.forEach((key, i) => { key.lastChild.textContent = this.format(data[i + 1][index] ?? null); });
    this.plotNode.setAttribute('aria-label',
      this.series.map((one, i) => `${one.label} ${this.format(data[i + 1][index] ?? null)}`).join(', '));
  }
}

let latency = () => null;
let zonesChart = null;

function makeCharts(first) {
  new Chart('Messages in', 'events published', [
    { label: 'HTTP', value: () => growth(s => s.published_http_total) },
    { label: 'WebSocket', value: () => growth(s => s.published_websocket_total) },
  ], { format: rate });
  new Chart('Messages out', 'once a subscriber', [
    { label: 'delivered', value: () => growth(s => s.delivered_total), colour: 2 },
  ], { format: rate });
  new Chart('Connections', 'open, by transport', [
    { label: 'WebSocket', value: () => samples.at(-1).connections.websocket },
    { label: 'SSE', value: () => samples.at(-1).connections.sse },
    { label: 'long-poll', value: () => samples.at(-1).connections.longpoll },
  ], { format: compact });
  new Chart('Delivery latency', 'percentiles', [
    { label: 'p50', value: () => latency(0.5), colour: 2 },
    { label: 'p90', value: () => latency(0.9), colour: 3 },
    { label: 'p99', value: () => latency(0.99), colour: 5 },
  ], { format: milliseconds, logarithmic: true });
  zonesChart = new Chart('Log in use', 'by zone; full is normal', Object.keys(first.zones).slice(0, 5).map(name => (
    { label: name, value: () => usage(samples.at(-1).zones[name]) })), { format: percent, full: 100 });
  new Chart('Broker queue', 'events that wait', [
    { label: 'in memory', value: () => queued(samples.at(-1)) },
    { label: 'spooled', value: () => spooled(samples.at(-1)), colour: 3 },
  ], { format: compact });
  new Chart('Broker confirms', 'events a second', [
    { label: 'handed over', value: () => growth(s => sum(s.brokers, 'offered_total'), SlowSeconds) },
    { label: 'confirmed', value: () => growth(s => sum(s.brokers, 'confirmed_total'), SlowSeconds), colour: 2 },
  ], { format: rate });
  new Chart('Failures', 'events a second', [
    { label: 'refused', value: () => growth(refused) },
    { label: 'invalid', value: () => growth(invalid) },
    { label: 'closed', value: () => growth(closed) },
    { label: 'gaps', value: () => growth(lost) },
    { label: 'broker', value: () => growth(brokerFailures, SlowSeconds) },
  ], { format: rate });
}

const usage = zone => zone === undefined ? null : 100 * zone.log_used_bytes / zone.log_bytes;

let seconds = 300;
let drawn = true;

function drawSoon() {
  if (!drawn || times.length === 0) return;
  drawn = false;
  requestAnimationFrame(() => {
    drawn = true;
    const to = times.at(-1);
    const from = to - seconds;
    const first = times.findIndex(time => time >= from);
    charts.forEach(chart => chart.draw(first, from, to));
  });
}

// --- tiles, attention

const tiles = new Map();

function tile(name, value, note = '', level = '') {
  if (!tiles.has(name)) {
    const parts = { value: element('dd'), note: element('dd', { className: 'note' }) };
    $('tiles').append(element('div', {}, element('dt', {}, name), parts.value, parts.note));
    tiles.set(name, parts);
  }
  const parts = tiles.get(name);
  parts.value.textContent = value;
  parts.value.dataset.level = level;
  parts.note.textContent = note;
}

function showTiles(s) {
  const oldest = samples[Math.max(samples.length - 61, 0)];
  const failed = Math.max(failures(s) - failures(oldest), 0);
  const zones = Object.values(s.zones);
  tile('Messages in', rate(growth(published)), `${compact(published(s))} in all`);
  tile('Messages out', rate(growth(x => x.delivered_total)), `${bytes(growth(x => x.delivered_bytes_total))}/s`);
  tile('Connections', compact(connections(s)), `in ${compact(s.channels)} ${s.channels === 1 ? 'channel' : 'channels'}`);
  tile('Latency p99', milliseconds(latency(0.99)), `p50 ${milliseconds(latency(0.5))}`);
  tile('Log in use', percent(Math.max(...zones.map(usage))), `oldest ${duration(Math.max(...zones.map(zone => zone.oldest_ms)))}`);
  tile('Broker queue', Object.keys(s.brokers).length ? compact(queued(s) + spooled(s)) : 'none',
    Object.keys(s.brokers).length ? bytes(sum(s.brokers, 'queued_bytes') + sum(s.brokers, 'spool_bytes')) : 'no broker configured');
  tile('Slow subscribers', compact(s.slow_subscribers), `${bytes(s.waiting_bytes)} wait`, s.slow_subscribers ? 'bad' : '');
  tile('Failures', compact(failed), samples.length > 60 ? 'in the last minute' : `in the last ${duration(s.time_ms - oldest.time_ms)}`, failed ? 'bad' : '');
}

// It begins with the broker's name, which stands beside it.
const lastError = (name, broker) => broker.last_error.replace(`broker "${name}", `, '');

function troubles(s) {
  const found = [];
  for (const [name, broker] of Object.entries(s.brokers)) {
    if (broker.state === 'down' || broker.state === 'blocked') {
      found.push(`Broker ${name} is ${broker.state}${broker.last_error ? `: ${lastError(name, broker)}` : ''}`);
    }
    if (broker.spool_failed_workers) {
      found.push(`Broker ${name}: ${broker.spool_failed_workers} workers cannot write their spool`);
    }
  }
  if (s.webhooks_failing) found.push(`Webhook receivers fail: ${s.webhooks_failing}, once a worker`);
  for (const [name, zone] of Object.entries(s.zones)) {
    if (zone.subscribed_channels > 0.9 * zone.channel_capacity) {
      found.push(`Zone ${name}: ${zone.subscribed_channels} of ${zone.channel_capacity} places for channels are subscribed`);
    }
    if (zone.slots_in_use === zone.slots) found.push(`Zone ${name}: all ${zone.slots} places for workers are taken`);
  }
  if (growth(refused, 10) > 0) found.push('Publishers are refused with 503');
  return found;
}

function showAttention(s) {
  const found = troubles(s);
  const list = $('attention').querySelector('ul');
  const text = found.join('\n');
  $('attention').hidden = found.length === 0;
  if (list.dataset.text !== text) { // so that screen readers hear of changes only
    list.dataset.text = text;
    list.replaceChildren(...found.map(line => element('li', {}, line)));
  }
}

// --- tables

const tables = new Map();
let permissions = { watch: false, publish: false, apps: [] };

// Columns are [heading, how it looks]; rows are lists of texts or nodes. Cells are changed in place, so that the focus
// stays where it is.
function table(title, columns, rows, none) {
  if (!tables.has(title)) {
    const body = element('tbody');
    const scroll = element('div', { className: 'scroll', tabIndex: 0, role: 'region', 'aria-label': title },
      element('table', {}, element('thead', {}, element('tr', {},
        ...columns.map(([heading, look]) => element('th', { className: look, scope: 'col' }, heading)))), body));
    const empty = element('p', { className: 'none' }, none);
    $('tables').append(element('section', {}, element('h2', {}, title), empty, scroll));
    tables.set(title, { body, scroll, empty });
  }
  const { body, scroll, empty } = tables.get(title);
  empty.hidden = rows.length > 0;
  scroll.hidden = rows.length === 0;
  while (body.rows.length > rows.length) body.lastChild.remove();
  rows.forEach((row, i) => {
    const line = body.rows[i] ?? body.appendChild(element('tr', {}, ...columns.map(([, look]) => element('td', { className: look }))));
    row.forEach((value, j) => fill(line.cells[j], value, columns[j][1]));
  });
}

function fill(cell, value, look) {
  const { text, level = '', action = null } = typeof value === 'object' ? value : { text: String(value) };
  cell.className = `${look} ${level}`.trim();
  cell.action = action;
  const holder = cell.querySelector('button');
  if (action && !holder) {
    cell.replaceChildren(element('button', { type: 'button', onclick: () => cell.action() }, element('span', { className: 'lines' })));
  } else if (!action && holder) {
    cell.replaceChildren();
  }
  const target = action ? cell.querySelector('span') : cell;
  if (target.textContent !== text) {
    target.textContent = text;
    if (action) target.title = text; // of a long one only the first lines are seen
  }
}

const zoneOf = (s, name) => Object.keys(s.zones).length > 1 ? ` (${name})` : '';

function showTables(s) {
  table('Busiest channels', [['Channel', 'name'], ['Events/s', 'number'], ['Subscribers', 'number'], ['Events', 'number'], ['App', 'name']],
    [...s.busiest_channels].sort((a, b) => b.events_per_second - a.events_per_second).slice(0, 16).map(one => [
      { text: one.channel, action: permissions.watch ? () => watchChannel(one.app, one.channel) : null },
      compact(one.events_per_second), compact(one.subscribers), compact(one.events_total), one.app + zoneOf(s, one.zone)]),
    'Nothing is published.');
  table('Slow subscribers', [['Channel', 'name'], ['Transport', ''], ['Waiting', 'number'], ['For', 'number'], ['Worker', 'number']],
    s.slow_list.map(one => [one.channel, one.transport, bytes(one.waiting_bytes), duration(one.waiting_seconds * 1000), one.pid]),
    'All subscribers read as fast as they are sent.');
  table('Workers', [['Pid', 'number'], ['Generation', 'number'], ['Age', 'number'], ['State', ''], ['Connections', 'number'], ['Events in', 'number'], ['Deliveries', 'number']],
    s.worker_list.map(one => [one.pid, one.generation, duration(one.age_ms),
      one.draining ? { text: 'draining', level: 'warn' } : one.generation < s.generation ? { text: 'older generation', level: 'warn' } : { text: 'serving', level: 'good' },
      compact(one.open_connections), compact(one.published_total), compact(one.delivered_total)]), 'No worker has a place in the zone.');
  table('Brokers', [['Broker', 'name'], ['State', ''], ['Queued', 'number'], ['Spool', 'number'], ['Confirmed', 'number'], ['Failed', 'number'], ['Last error', 'text']],
    Object.entries(s.brokers).map(([name, one]) => [name,
      { text: one.state, level: one.state === 'up' ? 'good' : one.state === 'connecting' ? 'warn' : 'bad' },
      compact(one.queued), one.spool_failed_workers ? { text: 'fails', level: 'bad' } : `${compact(one.spool_events)} · ${bytes(one.spool_bytes)}`,
      compact(one.confirmed_total), compact(one.failed_total + one.refused_total),
      one.last_error ? `${lastError(name, one)} (${one.last_error_ms < 2000 ? 'now' : `${duration(one.last_error_ms)} ago`})` : '–']), 'No broker is configured.');
  table('Zones', [['Zone', 'name'], ['Log', 'number'], ['In use', 'number'], ['Oldest event', 'number'], ['Channels', 'number'], ['Subscribed', 'number'], ['Subscriptions', 'number']],
    Object.entries(s.zones).map(([name, one]) => [name, bytes(one.log_bytes), percent(usage(one)), duration(one.oldest_ms),
      `${compact(one.channels)} of ${compact(one.channel_capacity)}`, compact(one.subscribed_channels), compact(one.subscriptions)]), '');
}

// --- the stream

let heard = 0;

function take(sample) {
  heard = performance.now();
  const time = sample.time_ms / 1000;
  const last = times.at(-1);
  if (charts.length === 0) makeCharts(sample);
  if (last !== undefined && time <= last) return; // another worker's clock, or the first of a new stream
  if (last !== undefined && (time - last) * 1000 > GapMs) { // a hole: lines end here
    times.push(time - 0.001);
    charts.forEach(chart => chart.values.forEach(values => values.push(null)));
    samples.length = 0;
  }
  samples.push(sample);
  if (samples.length > 120) samples.shift();
  latency = samples.length > 1 ? latencies() : () => null;
  times.push(time);
  while (times.length > KeptSamples) times.shift();
  charts.forEach(chart => chart.add());
  showTiles(sample);
  showAttention(sample);
  showTables(sample);
  drawSoon();
  setState();
}

function setState() {
  const live = heard > 0 && performance.now() - heard < StaleMs;
  const state = $('state');
  const text = live ? 'live' : heard === 0 ? 'connecting' : `no news for ${duration(performance.now() - heard)}`;
  state.toggleAttribute('data-live', live);
  if (state.textContent !== text) state.textContent = text;
}

function connect() {
  const stream = new EventSource('?format=events');
  stream.addEventListener('settings', event => applySettings(JSON.parse(event.data)));
  stream.onmessage = event => take(JSON.parse(event.data));
  // EventSource comes back by itself unless it was refused.
  stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 3000); };
}

// --- a channel: watching and publishing

function applySettings(settings) {
  permissions = settings;
  const form = $('watch');
  if (form.app.options.length !== settings.apps.length) {
    form.app.replaceChildren(...settings.apps.map(app => element('option', {}, app)));
    form.app.parentNode.hidden = settings.apps.length < 2;
  }
  $('tabs').hidden = !settings.watch && !settings.publish;
  $('publishing').hidden = !settings.publish;
  $('seen').hidden = !settings.watch;
  form.history.parentNode.hidden = !settings.watch;
  form.querySelectorAll('button').forEach(button => { button.hidden = !settings.watch; });
  $('watch-state').hidden = !settings.watch;
  $('watching').querySelector('h2').textContent = settings.watch ? 'Watch a channel' : 'Channel';
}

let watching = null; // { controller, count }
const pending = [];

function watchChannel(app, channel) {
  const form = $('watch');
  form.app.value = app;
  form.channel.value = channel;
  select($('tab-channel'), true);
  startWatching();
}

function startWatching() {
  stopWatching();
  const form = $('watch');
  const mine = { controller: new AbortController(), count: 0, channel: form.channel.value, since: form.history.checked ? 'earliest' : '' };
  watching = mine;
  $('events').replaceChildren();
  form.querySelector('[type=submit]').textContent = 'Stop';
  follow(mine, { watch: mine.channel, app: form.app.value || 'default' });
}

function stopWatching() {
  if (watching) watching.controller.abort();
  watching = null;
  $('watch').querySelector('[type=submit]').textContent = 'Watch';
  $('watch-state').textContent = 'not watching';
}

// Not an EventSource, which hears only of events whose names it knows beforehand.
async function follow(mine, query) {
  while (watching === mine) {
    let reason = 'the stream has ended';
    try {
      const response = await fetch(address({ ...query, since: mine.since }), { signal: mine.controller.signal, headers: { Accept: 'text/event-stream' }, cache: 'no-store' });
      if (!response.ok) {
        const answer = await response.json().catch(() => ({}));
        reason = answer.error ?? `status ${response.status}`;
        if (response.status < 500) {
          $('watch').querySelector('[type=submit]').textContent = 'Watch';
          watching = null;
          $('watch-state').textContent = `refused: ${reason}`;
          return;
        }
      } else {
        $('watch-state').textContent = `watching ${mine.channel}`;
        await read(response.body, mine);
      }
    } catch (error) {
      if (mine.controller.signal.aborted) return;
      reason = String(error.message ?? error);
    }
    if (watching !== mine) return;
    $('watch-state').textContent = `${reason}; again in a second`;
    await new Promise(resolve => setTimeout(resolve, 1000));
  }
}

// The event stream of the HTML standard, as this module writes it: lines end in LF.
async function read(body, mine) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let event = { name: 'message', data: [] };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (event.data.length > 0 && watching === mine) show(event, mine);
        event = { name: 'message', data: [] };
        continue;
      }
      const [field, text] = [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).replace(/^ /, '')];
      if (field === 'id') mine.since = event.id = text;
      else if (field === 'event') event.name = text;
      else if (field === 'data') event.data.push(text);
      else if (field === 'encoding') event.encoding = text;
    }
  }
}

function show(event, mine) {
  mine.count++;
  pending.push({ ...event, text: event.data.join('\n'), time: new Date() });
  if (pending.length > KeptEvents) pending.shift();
  if (pending.length === 1 || mine.count % KeptEvents === 1) requestAnimationFrame(() => flush(mine));
}

function flush(mine) {
  const rows = pending.splice(0).reverse().map(event => {
    const base64 = event.encoding === 'base64';
    const size = base64 ? Math.floor(event.text.length * 3 / 4) - (event.text.match(/=+$/)?.[0].length ?? 0) : new TextEncoder().encode(event.text).length;
    const shown = event.text.length > ShownBytes ? `${event.text.slice(0, ShownBytes)}…` : event.text;
    return element('tr', {},
      element('td', {}, event.time.toLocaleTimeString([], { hour12: false })), element('td', { className: 'name' }, event.name),
      element('td', {}, event.id ?? '–'), element('td', { className: 'number' }, String(size)),
      element('td', {}, base64 ? `Base64: ${shown}` : shown));
  });
  if (watching !== mine) return;
  $('events').prepend(...rows);
  while ($('events').rows.length > KeptEvents) $('events').lastChild.remove();
  $('watch-state').textContent = `watching ${mine.channel}: ${mine.count.toLocaleString('en')} events`;
}

async function publish(form) {
  const state = $('publish-state');
  const channel = $('watch').channel.value;
  if (!channel) {
    state.textContent = 'Name the channel first.';
    $('watch').channel.focus();
    return;
  }
  const query = { publish: channel, app: $('watch').app.value || 'default', event: form.event.value };
  try {
    const response = await fetch(address(query), { method: 'POST', body: form.data.value, headers: { 'Content-Type': 'text/plain; charset=utf-8' } });
    const answer = await response.json().catch(() => ({}));
    state.textContent = response.ok ? `Published to ${answer.subscribers} ${answer.subscribers === 1 ? 'subscriber' : 'subscribers'} as ${answer.id}.` : `Refused: ${answer.error ?? response.status}`;
  } catch (error) {
    state.textContent = `Not sent: ${error.message}`;
  }
}

// --- tabs, theme, range

const tabs = [...document.querySelectorAll('[role=tab]')];

function select(tab, focus = false) {
  for (const one of tabs) {
    one.setAttribute('aria-selected', String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute('aria-controls')).hidden = one !== tab;
  }
  if (focus) tab.focus();
  charts.forEach(chart => chart.resize());
  drawSoon();
}

tabs.forEach((tab, i) => {
  tab.addEventListener('click', () => select(tab));
  tab.addEventListener('keydown', event => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      select(tabs[to % tabs.length], true);
    }
  });
});

const dark = matchMedia('(prefers-color-scheme: dark)');
const store = {
  get: () => { try { return localStorage.getItem('realtime-theme') ?? 'auto'; } catch { return 'auto'; } },
  set: value => { try { localStorage.setItem('realtime-theme', value); } catch { /* a private window: this page only */ } },
};
let theme = store.get();

function applyTheme() {
  document.documentElement.dataset.theme = theme === 'auto' ? (dark.matches ? 'dark' : 'light') : theme;
  $('theme').textContent = `Theme: ${theme}`;
  charts.forEach(chart => chart.plot.redraw(false));
}

$('theme').addEventListener('click', () => {
  theme = { auto: 'light', light: 'dark', dark: 'auto' }[theme] ?? 'auto';
  store.set(theme);
  applyTheme();
});
dark.addEventListener('change', applyTheme);

$('range').addEventListener('change', event => {
  seconds = Number(event.target.value);
  drawSoon();
});
$('watch').addEventListener('submit', event => {
  event.preventDefault();
  if (!permissions.watch) return;
  if (watching) stopWatching();
  else startWatching();
});
$('watch').channel.addEventListener('input', () => { if (watching) stopWatching(); });
$('clear').addEventListener('click', () => $('events').replaceChildren());
$('publish').addEventListener('submit', event => {
  event.preventDefault();
  publish(event.target);
});

$('host').textContent = location.host;
document.title = `${location.host} · nginx-realtime`;
applyTheme();
setInterval(setState, 1000);
connect();

})();
