import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Drive, IDLE_RELEASE_MS, TICK_MS, directionOf } from '../js/drive.js';
import { seeded } from './helpers.js';

const MINE = { holder: 'me', number: 4, you: true };
const FREE = { holder: null, number: 5, you: false };
const THEIRS = { holder: 'them', number: 6, you: false };

let drive;
beforeEach(() => {
  drive = new Drive();
  drive.reset({ max_linear: 1.5, max_angular: 2 });
});

test('the first key asks for the controls, and driving begins once they are given', () => {
  drive.press('KeyW', 'forward');
  assert.deepEqual(drive.tick(0), [{ kind: 'request' }]);
  assert.deepEqual(drive.tick(TICK_MS), [], 'asked already');
  drive.setLease(MINE);
  const [action] = drive.tick(2 * TICK_MS);
  assert.deepEqual(action, { kind: 'drive', lease: 4, seq: 1, linear: 1.5, angular: 0, held: true });
});

test('backwards no more is asked for than the machine does backwards', () => {
  drive.reset({ max_linear: 1.5, max_reverse: 0.8, max_angular: 2 });
  drive.setLease(MINE);
  drive.press('KeyS', 'back');
  const [action] = drive.tick(0);
  assert.deepEqual(action, { kind: 'drive', lease: 4, seq: 1, linear: -0.8, angular: 0, held: true });
});

test('a request that nobody answers is said again after a second', () => {
  drive.press('KeyW', 'forward');
  drive.tick(0);
  assert.deepEqual(drive.tick(999), []);
  assert.deepEqual(drive.tick(1000), [{ kind: 'request' }]);
});

test('letting go says so three times, and then four times a second for as long as the controls are ours', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.tick(0);
  drive.release('KeyW');
  const times = Array.from({ length: 20 }, (_, at) => (at + 1) * 50);
  const said = times.flatMap((now) => drive.tick(now).map(({ held, linear }) => [now, held, linear]));
  assert.deepEqual(said, [
    [50, false, 0],
    [100, false, 0],
    [150, false, 0],
    [400, false, 0],
    [650, false, 0],
    [900, false, 0],
  ]);
});

test('a page that nobody looks at falls silent once it has let go', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.tick(0);
  drive.releaseAll();
  drive.silence(true);
  const said = [50, 100, 150, 400, 900, 2_000].flatMap((now) => drive.tick(now));
  assert.deepEqual(said.map(({ held }) => held), [false, false, false]);
});

test('a stick drives by shares of the full speed, and never beyond it', () => {
  drive.setLease(MINE);
  drive.steer('gamepad', { linear: 0.5, angular: -0.25 });
  const [{ linear, angular, held }] = drive.tick(0);
  assert.deepEqual([linear, angular, held], [0.75, -0.5, true]);
  drive.press('KeyW', 'forward');
  assert.equal(drive.tick(50)[0].linear, 1.5, 'a key beside it adds up to the full speed');
  drive.release('KeyW');
  drive.steer('gamepad', { linear: NaN, angular: 7 });
  assert.deepEqual([drive.tick(100)[0].linear, drive.tick(150)[0].angular], [0, 2]);
  drive.release('gamepad');
  assert.equal(drive.tick(200)[0].held, false);
});

test('a key and a finger on the same direction do not undo each other', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.press('pointer 1', 'forward');
  drive.release('KeyW');
  assert.equal(drive.tick(0)[0].linear, 1.5);
});

test('opposite directions cancel out, and two axes go together', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.press('KeyS', 'back');
  drive.press('KeyA', 'left');
  const [{ linear, angular, held }] = drive.tick(0);
  assert.deepEqual([linear, angular, held], [0, 2, true]);
});

test('Shift goes slowly', () => {
  drive.setLease(MINE);
  drive.setSlow(true);
  drive.press('ArrowRight', 'right');
  const [{ angular }] = drive.tick(0);
  assert.ok(angular < 0 && angular > -1);
});

test('while somebody else drives, nothing is said', () => {
  drive.setLease(THEIRS);
  drive.press('KeyW', 'forward');
  assert.deepEqual(drive.tick(0), []);
});

test('a block lets go of everything, and what was held has to be pressed anew', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.tick(0);
  drive.block('the emergency stop is on');
  assert.equal(drive.tick(50)[0].held, false);
  drive.press('KeyW', 'forward');
  assert.equal(drive.held.size, 0);
  drive.block(null);
  assert.equal(drive.held.size, 0);
});

test('losing the controls in the middle of a drive ends it without another word', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.tick(0);
  drive.setLease(THEIRS);
  assert.deepEqual(drive.tick(50), []);
  drive.release('KeyW');
  assert.deepEqual(drive.tick(100), []);
  assert.equal(drive.isBusy, false);
});

test('idle controls are given back', () => {
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  drive.tick(0);
  drive.release('KeyW');
  for (const now of [50, 100, 150]) drive.tick(now);
  assert.ok(drive.tick(IDLE_RELEASE_MS - 1).every(({ kind }) => kind === 'drive'));
  assert.deepEqual(drive.tick(IDLE_RELEASE_MS), [{ kind: 'release' }]);
  drive.setLease(FREE);
  assert.equal(drive.isBusy, false);
});

test('controls that were given without a key are kept for a while, not given back at once', () => {
  drive.setLease(MINE);
  assert.ok(drive.tick(1_000_000).every(({ held }) => held === false));
  assert.deepEqual(drive.tick(1_000_000 + IDLE_RELEASE_MS), [{ kind: 'release' }]);
});

test('a page that goes away says stop at once', () => {
  drive.setLease(MINE);
  assert.deepEqual(drive.stopNow(), [], 'nothing moved');
  drive.press('KeyW', 'forward');
  drive.tick(0);
  const [action] = drive.stopNow();
  assert.equal(action.held, false);
});

test('a machine that cannot be driven is told zero at most', () => {
  drive.reset(undefined);
  drive.setLease(MINE);
  drive.press('KeyW', 'forward');
  assert.equal(drive.tick(0)[0].linear, 0);
});

test('whatever is pressed in whatever order: limits are kept, numbers grow, and silence follows letting go', () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const random = seeded(seed);
    drive.reset({ max_linear: 1.5, max_angular: 2 });
    drive.silence(false);
    let seq = 0;
    let now = seed * 1e6;
    for (let step = 0; step < 100; step += 1) {
      now += TICK_MS;
      const dice = random();
      const key = ['ArrowUp', 'KeyS', 'KeyA', 'ArrowRight'][Math.floor(random() * 4)];
      if (dice < 0.4) drive.press(key, directionOf(key));
      else if (dice < 0.7) drive.release(key);
      else if (dice < 0.75) drive.setLease([MINE, FREE, THEIRS][Math.floor(random() * 3)]);
      else if (dice < 0.8) drive.block(random() < 0.5 ? 'a reason' : null);
      else if (dice < 0.85) drive.setSlow(random() < 0.5);
      for (const action of drive.tick(now)) {
        if (action.kind !== 'drive') continue;
        assert.ok(action.seq > (seq || 0), `seed ${seed}`);
        seq = action.seq;
        assert.ok(Math.abs(action.linear) <= 1.5 && Math.abs(action.angular) <= 2, `seed ${seed}`);
        if (!action.held) assert.deepEqual([action.linear, action.angular], [0, 0]);
      }
    }
    drive.releaseAll();
    drive.silence(true);
    for (let tick = 0; tick < 3; tick += 1) drive.tick((now += TICK_MS));
    const said = drive.tick(now + TICK_MS).filter(({ kind }) => kind === 'drive');
    assert.deepEqual(said, [], `seed ${seed}`);
  }
});

test('keys are known by their place, and no others are taken', () => {
  assert.equal(directionOf('KeyA'), 'left');
  assert.equal(directionOf('ArrowDown'), 'back');
  for (const code of ['KeyQ', 'Space', 'toString', '']) assert.equal(directionOf(code), null);
});
