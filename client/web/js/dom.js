/** The few things that every view does with the document. */

/**
 * The element of this id, which the page's HTML has.
 *
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (element);
}

/**
 * A new element. Text is only ever set as text, so nothing that a machine says becomes markup.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{class?: string, text?: string, testid?: string, type?: string}} [options]
 * @param {Node[]} [children]
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function create(tag, options = {}, children = []) {
  const element = document.createElement(tag);
  if (options.class) element.className = options.class;
  if (options.text !== undefined) element.textContent = options.text;
  if (options.testid) element.dataset['testid'] = options.testid;
  if (options.type) element.setAttribute('type', options.type);
  element.append(...children);
  return element;
}

/**
 * Sets a text only when it differs, so that screen readers hear changes and nothing else.
 *
 * @param {Node} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
