/** The few DOM helpers of this page. Text enters only as text nodes: names and stories are strangers' input. */

/**
 * Makes an element. `attributes` go through setAttribute (`true` means present, `false` absent); children are
 * elements or text.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | boolean>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) node.setAttribute(name, value === true ? '' : value)
  }
  node.append(...children)
  return node
}

/**
 * The element with this id, of this class; the page is broken without it, so its absence is an error.
 * @template {HTMLElement} Kind
 * @param {string} id
 * @param {{ new (): Kind }} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const node = document.getElementById(id)
  if (!(node instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`)
  return node
}

/**
 * Turns a button on or off. Not by `disabled`: such a button loses the focus and is skipped by Tab, so that nobody
 * without a mouse finds its reason, which `aria-describedby` names.
 * @param {HTMLButtonElement} button
 * @param {boolean} usable
 */
export function setUsable(button, usable) {
  button.setAttribute('aria-disabled', String(!usable))
}

/** `aria-disabled` alone stops no click. */
export function ignoreDisabledButtons() {
  document.addEventListener(
    'click',
    (event) => {
      if (!(event.target instanceof Element) || event.target.closest('[aria-disabled="true"]') === null)
        return
      event.preventDefault()
      event.stopImmediatePropagation()
    },
    { capture: true },
  )
}

const CLOCK = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
})

/**
 * Local wall-clock time to the millisecond; a time that does not parse is shown as it came.
 * @param {string} timestamp RFC 3339
 */
export function clockTime(timestamp) {
  const date = new Date(timestamp)
  return Number.isNaN(date.getTime()) ? timestamp : CLOCK.format(date)
}
