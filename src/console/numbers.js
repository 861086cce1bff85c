import { element } from './dom.js'

const SHOWN = 40

/**
 * The numbers of the events as tiles, oldest first: the eye sees at once whether one is missing, and which came while
 * the page was away. For the eye alone; the facts beside it say the same in words.
 */
export class Numbers {
  #list

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list
  }

  /**
   * @param {number} seq
   * @param {boolean} missed it happened while the page was away
   */
  add(seq, missed) {
    const before = Number(this.#list.lastElementChild?.textContent ?? seq - 1)
    if (seq > before + 1) this.#list.append(element('li', { class: 'hole' }, '?'))
    this.#list.append(element('li', { class: missed ? 'away' : false }, String(seq)))
    while (this.#list.childElementCount > SHOWN) this.#list.firstElementChild?.remove()
    this.#list.scrollLeft = this.#list.scrollWidth
  }

  clear() {
    this.#list.replaceChildren()
  }
}
