import assert from 'node:assert/strict';
import { test } from 'node:test';
import { draw } from '../js/curves.js';
import { Curve, Job, figure, readReport } from '../js/job.js';

/** @param {object[]} story */
function followed(story) {
  const job = new Job('1a2b');
  story.forEach((what, at) => job.take(/** @type {any} */ ({ n: at + 1, at_ms: 0, ...what })));
  return job;
}

/** @param {object} report */
const report = (report) => ({ kind: 'progress', report: JSON.stringify(report) });

test('what is no number survives, and texts stay texts', () => {
  const read = readReport('{"event":"batch_end","epoch":3,"logs":{"loss":NaN,"a":-Infinity,"b":Infinity,"c":1e-3}}');
  assert.deepEqual([...(read?.logs.values() ?? [])], [NaN, -Infinity, Infinity, 0.001]);
  assert.equal(readReport('{"event":"a \\" NaN","logs":null}')?.event, 'a " NaN');
  for (const text of ['NaN', '', '{"event":', '{"epoch":1}', '[]', 'null']) assert.equal(readReport(text), null, text);
});

test('a training is counted in epochs and batches', () => {
  const job = followed([
    { kind: 'state', state: 'running' },
    report({ event: 'train_begin' }),
    report({ event: 'epoch_begin', epoch: 0 }),
    report({ event: 'batch_end', epoch: 0, batch: 0 }),
    report({ event: 'batch_end', epoch: 0, batch: 1 }),
    report({ event: 'epoch_end', epoch: 0, logs: { 'train/loss': 0.5, 'val/loss': 0.25 } }),
    report({ event: 'batch_end', epoch: 1, batch: 0 }),
  ]);
  job.epochs = 4;
  assert.deepEqual([job.done, job.batch, job.batches, job.share], [1, 1, 2, 0.375]);
  assert.deepEqual(job.train.points, [{ epoch: 1, loss: 0.5 }]);
  job.take({ n: 8, at_ms: 0, kind: 'progress', report: '{"event":"epoch_end","epoch":1,"logs":{"val_loss":NaN}}' });
  assert.ok(Number.isNaN(job.val.last), 'it shows');
  assert.deepEqual([job.val.points.length, job.val.notNumbers], [1, 1], 'and is not drawn');
});

test('events that were told before change nothing', () => {
  const job = followed([{ kind: 'state', state: 'running' }, { kind: 'line', stream: 'stdout', text: 'a' }]);
  job.take({ n: 1, at_ms: 0, kind: 'state', state: 'queued' });
  job.take(/** @type {any} */ ({ kind: 'line', text: 'no number' }));
  assert.deepEqual([job.state, job.next, job.lines.length], ['running', 3, 1]);
});

test('progress is written over, notes stay, and memory is bounded', () => {
  const line = (/** @type {string} */ text, progress = false) => ({ kind: 'line', stream: 'stdout', text, progress });
  const job = followed([line('10%', true), line('20%', true), { kind: 'note', message: 'late' }, line('30%', true), line('done')]);
  assert.deepEqual(job.lines.map(({ text }) => text), ['20%', 'late', 'done']);
  const flooded = followed(Array.from({ length: 5_000 }, () => line('x'.repeat(9_000))));
  assert.deepEqual([flooded.lines.length, flooded.lines[0]?.text.length], [200, 500]);
  const curve = new Curve();
  for (let epoch = 1; epoch <= 100_000; epoch += 1) curve.add(epoch, 1 / epoch);
  assert.ok(curve.points.length < 2_000 && curve.points.length > 500, String(curve.points.length));
  assert.equal(curve.last, 1e-5);
});

test('curves lie in their box, far apart ones on a logarithmic scale', () => {
  const box = { width: 100, height: 50 };
  assert.equal(draw([[], [{ epoch: 1, loss: 1 }]], box), null, 'one point is no line');
  const drawn = draw([[{ epoch: 1, loss: 3 }, { epoch: 3, loss: 1 }], [{ epoch: 2, loss: 2 }]], box);
  assert.deepEqual(drawn?.paths, ['M0.0 0.0L100.0 50.0', 'M50.0 25.0']);
  assert.deepEqual([drawn?.high, drawn?.low, drawn?.first, drawn?.last], ['3.0000', '1.0000', '1', 'epoch 3']);
  const far = draw([[{ epoch: 1, loss: 1 }, { epoch: 2, loss: 0.01 }, { epoch: 3, loss: 1e-4 }]], box);
  assert.equal(far?.logarithmic, true);
  assert.deepEqual(far?.paths, ['M0.0 0.0L50.0 25.0L100.0 50.0']);
  const flat = draw([[{ epoch: 1, loss: 2 }, { epoch: 2, loss: 2 }]], box);
  assert.deepEqual(flat?.paths, ['M0.0 25.0L100.0 25.0']);
});

test('figures have the digits that matter', () => {
  assert.deepEqual([0, 0.123456, 1e-7, 123456, NaN, -Infinity].map(figure), ['0.0000', '0.1235', '1.00e-7', '1.23e+5', 'NaN', '-Infinity']);
});
