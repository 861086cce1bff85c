import { element } from './dom.js'

const SHOWN = 40

/**
 * The numbers of the events as tiles, oldest first: they show at a glance whether one is missing, and which happened while
 * the page was away. Hidden from screen readers, which find the same in words under "Details".
 */
export class Numbers {
  #list

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list
  }

  /**
   * @param {number} seq
   * @param {'kept' | 'away' | 'live'} when before the page was opened, while the panel was away, or just now
   */
  add(seq, when) {
    const before = Number(this.#list.lastElementChild?.textContent ?? seq - 1)
    if (seq > before + 1) this.#list.append(element('li', { class: 'hole' }, '?'))
    this.#list.append(element('li', { class: when }, String(seq)))
    while (this.#list.childElementCount > SHOWN) this.#list.firstElementChild?.remove()
    this.#list.scrollLeft = this.#list.scrollWidth
  }

  clear() {
    this.#list.replaceChildren()
  }
}
