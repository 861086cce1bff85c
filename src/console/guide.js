import { announce } from './announce.js'
import { byId, setUsable } from './dom.js'

/**
 * @typedef {object} Step
 * @property {string} id
 * @property {string} label of the main button while this step is the next one
 * @property {() => void} run
 */

/** The line that stays on top: it says what has happened, and its button does what comes next. */
export class Guide {
  #words = byId('guide', HTMLElement)
  #button = byId('next', HTMLButtonElement)
  #end = byId('end', HTMLElement)
  /** @type {Step[]} those that nobody has done yet */
  #steps

  /** @param {Step[]} steps */
  constructor(steps) {
    this.#steps = steps
    this.#button.addEventListener('click', () => this.#steps[0]?.run())
    this.#show()
  }

  /** @param {string} words */
  say(words) {
    this.#words.textContent = words
    announce(words)
  }

  /** @param {boolean} busy a step is being carried out; the words beside the button say which */
  setBusy(busy) {
    setUsable(this.#button, !busy)
  }

  /**
   * A step was done, by the guide's button or by hand.
   * @param {string} id
   */
  done(id) {
    const hadFocus = document.activeElement === this.#button
    this.#steps = this.#steps.filter((step) => step.id !== id)
    this.#show()
    if (hadFocus && this.#steps.length === 0) this.#end.focus()
  }

  /**
   * Makes one button the page's main one. A page with two does not say what to do next.
   * @param {HTMLButtonElement} [button] none: the guide's own
   */
  lead(button = this.#button) {
    for (const other of document.querySelectorAll('button.primary')) other.classList.remove('primary')
    button.classList.add('primary')
  }

  #show() {
    this.#button.textContent = this.#steps[0]?.label ?? ''
    this.#button.hidden = this.#steps.length === 0
    this.#end.hidden = this.#steps.length > 0
  }
}
