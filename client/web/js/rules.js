/**
 * Why the machine stopped, in plain words and with what to do: one sentence each for the rules of
 * its safety gate.
 */

const AGAIN = 'Let go, then press again.';

/**
 * @param {unknown} rule the gate's word, from `TELEMETRY::` or `CHANGED::`
 * @param {{max_picture_age_ms?: number | undefined, watchdog_ms?: number | undefined}} limits
 * @param {string | null} fault what is wrong with the program that moves the machine
 * @returns {string | null} `null` for a rule that is not known, or none
 */
export function whyStopped(rule, limits, fault) {
  switch (rule) {
    case 'watchdog':
      return `Stopped: for ${limits.watchdog_ms ?? 500} ms the machine heard nothing from you. ${AGAIN}`;
    case 'picture':
      return `Stopped: your picture was older than ${limits.max_picture_age_ms ?? 300} ms. Wait until it is live. ${AGAIN}`;
    case 'not_finite':
      return `Stopped: the machine was told something that is no speed. ${AGAIN}`;
    case 'driver':
      return fault
        ? `Stopped: ${fault}. It is started again by itself.`
        : `Stopped: what moves the machine did not follow. ${AGAIN}`;
    case 'lease':
      return `Stopped: the controls were taken from you, or your connection was lost. ${AGAIN}`;
    case 'estop':
      return `The emergency stop was pressed. ${AGAIN}`;
    default:
      return null;
  }
}
