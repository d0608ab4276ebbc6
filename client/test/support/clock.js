// Time that passes when the test says so, from `now` (ms). Not node:test's own, which is another in each version of Node.
import FakeTimers from '@sinonjs/fake-timers';

export function fakeClock(t, now = 0) {
  const clock = FakeTimers.install({ now, toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'] });
  t.after(() => clock.uninstall());
  return clock;
}
