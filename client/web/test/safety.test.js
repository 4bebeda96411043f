import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MachineClock } from '../js/clock.js';
import { CommandQueue, LIFE_MS, MAX_WAITING } from '../js/command-queue.js';
import { Gamepad } from '../js/gamepad.js';
import { PictureAge } from '../js/picture-age.js';
import { whyStopped } from '../js/rules.js';

const DAY = 1_763_000_000_000;

test('the machine’s time is known however wrong either clock is', () => {
  for (const wrong of [-5e9, 0, 3_600_000]) {
    const clock = new MachineClock();
    assert.equal(clock.at(0, 10), null);
    // Each report takes 20 ms, and some are held up by up to 80 ms.
    for (let at = 0; at < 3_000; at += 50) clock.heard(at + 20 + (at % 400 === 0 ? 0 : 80), DAY + wrong + at);
    assert.equal(clock.at(5_000, 40), DAY + wrong + 5_000);
  }
});

test('a machine whose clock is set is believed at once', () => {
  const clock = new MachineClock();
  clock.heard(1_000, DAY);
  clock.heard(1_050, DAY - 3_600_000);
  assert.equal(clock.at(1_050, 0), DAY - 3_600_000);
});

test('a picture’s age is what its strip says by the machine’s own time, and grows while it stands still', () => {
  const clock = new MachineClock();
  const age = new PictureAge(clock);
  assert.equal(age.at(0), null);
  clock.heard(1_000, DAY + 1_000 - 30);
  age.shown(1_100, (DAY + 1_000) % 2 ** 32, undefined, 60);
  assert.equal(age.at(1_100), 100);
  assert.ok(age.isExact);
  assert.equal(age.at(1_500), 500);
  age.reset();
  assert.equal(age.at(1_500), null);
});

test('a machine’s clock that is set makes no picture old, and none of the future', () => {
  for (const jump of [600_000, -600_000]) {
    for (const pictureFirst of [true, false]) {
      const clock = new MachineClock();
      const age = new PictureAge(clock);
      /** What the machine's clock says. @param {number} at */
      const machine = (at) => DAY + at + (at >= 5_000 ? jump : 0);
      // Pictures and reports take 20 ms; around the jump one of the two is held up by another 40 ms.
      const late = (/** @type {boolean} */ isLate, /** @type {number} */ at) => (isLate && at > 4_900 && at < 5_200 ? 60 : 20);
      for (let at = 0; at < 9_000; at += 50) {
        const report = at - late(pictureFirst, at);
        const picture = at - late(!pictureFirst, at);
        const heard = () => clock.heard(at, machine(report));
        if (!pictureFirst) heard();
        age.shown(at, machine(picture) % 2 ** 32, at - 5, 10);
        if (pictureFirst) heard();
        const now = age.at(at) ?? NaN;
        assert.ok(now >= 0 && now < 150, `${jump}, ${pictureFirst}: ${now} ms old at ${at}`);
        // It stands still from here on.
        const later = age.at(at + 1_000) ?? NaN;
        assert.ok(later >= 900 && later < 1_150, `${jump}, ${pictureFirst}: ${later} ms a second later`);
      }
      assert.ok(age.isExact, 'strips count again');
    }
  }
});

test('without a strip it counts from the last packet and half a round trip', () => {
  const age = new PictureAge(new MachineClock());
  age.shown(1_000, null, 980, 60);
  assert.equal(age.at(1_000), 50);
  assert.equal(age.isExact, false);
  age.shown(1_100, null, undefined, null);
  assert.equal(age.at(1_250), 150);
});

const pad = (/** @type {number[]} */ axes, /** @type {number[]} */ pressed) => ({
  axes,
  buttons: Array.from({ length: 17 }, (_, at) => ({ pressed: pressed.includes(at) })),
  connected: true,
});

test('a gamepad drives only while its dead-man’s switch is held', () => {
  const gamepad = new Gamepad();
  assert.deepEqual(gamepad.poll(pad([0, -1], [])), []);
  assert.deepEqual(gamepad.poll(pad([0, -1], [5])), [{ kind: 'steer', linear: 1, angular: 0 }]);
  assert.deepEqual(gamepad.poll(pad([-1, 0.05], [5])), [{ kind: 'steer', linear: 0, angular: 1 }]);
  assert.deepEqual(gamepad.poll(pad([0, -1], [])), [{ kind: 'release' }]);
  assert.deepEqual(gamepad.poll(pad([0, -1], [])), []);
});

test('a gamepad that is gone lets go and says so once', () => {
  const gamepad = new Gamepad();
  assert.deepEqual(gamepad.poll(null), []);
  gamepad.poll(pad([0, -1], [5]));
  assert.deepEqual(gamepad.poll({ ...pad([0, -1], [5]), connected: false }), [{ kind: 'release' }, { kind: 'lost' }]);
  assert.deepEqual(gamepad.poll(null), []);
});

test('its stop button is pressed once, and needs no other', () => {
  const gamepad = new Gamepad();
  assert.deepEqual(gamepad.poll(pad([0, 0], [1])), [{ kind: 'estop' }]);
  assert.deepEqual(gamepad.poll(pad([0, 0], [1])), []);
  gamepad.poll(pad([0, 0], []));
  assert.deepEqual(gamepad.poll(pad([0, 0], [1])), [{ kind: 'estop' }]);
});

const command = (/** @type {string} */ id) => ({ id, name: 'lamp', args: {} });

test('a command given without a connection goes out with the next one, with the time that is left', () => {
  const queue = new CommandQueue();
  queue.add(command('a'), 0);
  /** @type {any[]} */
  const said = [];
  queue.flush(5_000, () => false);
  queue.flush(10_000, (one) => said.push(one) > 0);
  queue.flush(11_000, (one) => said.push(one) > 0);
  assert.deepEqual(said, [{ ...command('a'), deadline_ms: LIFE_MS - 10_000 }], 'once');
  assert.equal(queue.take('a')?.name, 'lamp');
  assert.deepEqual(queue.waiting, []);
});

test('what is not answered before the connection breaks is said again under its own id', () => {
  const queue = new CommandQueue();
  queue.add(command('a'), 0);
  const ids = [];
  queue.flush(0, ({ id }) => ids.push(id) > 0);
  queue.lost();
  queue.flush(1_000, ({ id }) => ids.push(id) > 0);
  assert.deepEqual(ids, ['a', 'a']);
});

test('a command whose time is over is told and never sent', () => {
  const queue = new CommandQueue();
  queue.add(command('a'), 0);
  queue.flush(LIFE_MS, () => assert.fail('too late'));
  assert.deepEqual(queue.expire(LIFE_MS).map(({ id }) => id), ['a']);
  assert.deepEqual(queue.waiting, []);
});

test('no more wait than anybody can look through', () => {
  const queue = new CommandQueue();
  for (let at = 0; at < MAX_WAITING; at += 1) assert.ok(queue.add(command(String(at)), 0));
  assert.equal(queue.add(command('one more'), 0), false);
  assert.equal(queue.forget().length, MAX_WAITING);
});

test('every rule that stops the machine is told in words that say what to do', () => {
  for (const rule of ['watchdog', 'picture', 'not_finite', 'driver', 'lease', 'estop']) {
    assert.match(whyStopped(rule, {}, null) ?? '', /press again/, rule);
  }
  assert.match(whyStopped('driver', {}, 'the cable is out') ?? '', /the cable is out/);
  assert.match(whyStopped('picture', { max_picture_age_ms: 250 }, null) ?? '', /250 ms/);
  assert.equal(whyStopped(null, {}, null), null);
  assert.equal(whyStopped('toString', {}, null), null);
});
