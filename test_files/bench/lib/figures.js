// Order statistics for the tables.

/**
 * The smallest value that at least `share` of the values do not exceed.
 *
 * @param {number[]} values
 * @param {number} share 0 to 1
 */
export function percentile(values, share) {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** @param {number[]} values */
export const median = (values) => percentile(values, 0.5);
