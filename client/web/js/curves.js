import { figure } from './job.js';

/**
 * Curves as paths in a box: numbers in, texts for SVG out.
 *
 * @typedef {import('./job.js').Point} Point
 * @typedef {object} Drawn
 * @property {string[]} paths one for each curve
 * @property {string} low the label below
 * @property {string} high the label above
 * @property {string} first the label at the left
 * @property {string} last the label at the right
 * @property {boolean} logarithmic
 */

/** Losses that lie further apart than this are drawn logarithmically. */
const FAR_APART = 50;

/**
 * @param {Point[][]} curves
 * @param {{width: number, height: number}} box
 * @returns {Drawn | null} nothing while there is no line to draw
 */
export function draw(curves, { width, height }) {
  const all = curves.flat();
  if (Math.max(0, ...curves.map((curve) => curve.length)) < 2) return null;
  const [least, most] = range(all.map(({ loss }) => loss));
  const [first, last] = range(all.map(({ epoch }) => epoch));
  const logarithmic = least > 0 && most / least > FAR_APART;
  const place = (/** @type {number} */ loss) => (logarithmic ? Math.log10(loss) : loss);
  const [bottom, top] = [place(least), place(most)];
  const x = (/** @type {number} */ epoch) => ((epoch - first) / (last - first || 1)) * width;
  // A flat curve lies in the middle.
  const y = (/** @type {number} */ loss) =>
    top === bottom ? height / 2 : height - ((place(loss) - bottom) / (top - bottom)) * height;
  const paths = curves.map((curve) =>
    curve
      .map(({ epoch, loss }, at) => `${at === 0 ? 'M' : 'L'}${x(epoch).toFixed(1)} ${y(loss).toFixed(1)}`)
      .join(''),
  );
  return { paths, low: figure(least), high: figure(most), first: `${first}`, last: `epoch ${last}`, logarithmic };
}

/** @param {number[]} numbers @returns {[number, number]} */
function range(numbers) {
  let [low, high] = [Infinity, -Infinity];
  for (const number of numbers) {
    low = Math.min(low, number);
    high = Math.max(high, number);
  }
  return [low, high];
}
