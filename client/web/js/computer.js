/**
 * What the worker says of its computer, in rows of telemetry: processors, memory, graphics cards.
 * It comes from the network, so nothing is taken for granted.
 *
 * @typedef {{label: string, text: string, testid: string}} Row
 */

/** Graphics cards that are shown. */
const MAX_CARDS = 8;

/**
 * @param {unknown} host the object `host` of telemetry
 * @returns {Row[]}
 */
export function hostRows(host) {
  if (!isObject(host)) return [];
  const { cpu, memory_used_mb: used, memory_mb: all, gpus } = host;
  /** @type {Row[]} */
  const rows = [];
  /** @param {string} label @param {string} testid @param {string} text */
  const add = (label, testid, text) => {
    if (text) rows.push({ label, testid: `telemetry-${testid}`, text });
  };
  add('Processor', 'cpu', percent(cpu));
  add('Memory', 'memory', of(used, all));
  const cards = (Array.isArray(gpus) ? gpus : []).filter(isObject).slice(0, MAX_CARDS);
  cards.forEach((card, index) => {
    const parts = [percent(card.utilization), of(card.memory_used_mb, card.memory_mb), degrees(card.temperature_c)];
    const label = typeof card.model === 'string' ? card.model.slice(0, 40) : `Graphics card ${index}`;
    add(label, `gpu-${index}`, parts.filter(Boolean).join(', '));
  });
  return rows;
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @param {unknown} share from 0 to 1 */
function percent(share) {
  return isNumber(share) ? `${Math.round(share * 100)} %` : '';
}

/** @param {unknown} used in MiB @param {unknown} all in MiB */
function of(used, all) {
  if (!isNumber(used) || !isNumber(all)) return '';
  return `${(used / 1024).toFixed(1)} of ${(all / 1024).toFixed(1)} GiB`;
}

/** @param {unknown} celsius */
function degrees(celsius) {
  return isNumber(celsius) ? `${Math.round(celsius)} °C` : '';
}

/** @param {unknown} value @returns {value is number} */
function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}
