import { element } from './dom.js'

const SECONDS = 60
const HEIGHT = 40

/** Events a second over the last minute, drawn as a line, and the same in words. */
export class Pulse {
  /** @type {number[]} */
  #counts = Array(SECONDS).fill(0)
  #line
  #area
  #words

  /** @param {HTMLElement} container */
  constructor(container) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg')
    svg.setAttribute('viewBox', `0 0 ${SECONDS - 1} ${HEIGHT}`)
    svg.setAttribute('preserveAspectRatio', 'none')
    svg.setAttribute('aria-hidden', 'true')
    this.#area = document.createElementNS(svg.namespaceURI, 'polygon')
    this.#line = document.createElementNS(svg.namespaceURI, 'polyline')
    svg.append(this.#area, this.#line)
    this.#words = element('p', { class: 'hint' })
    container.append(svg, this.#words)
    this.#draw()
    setInterval(() => {
      this.#counts = [...this.#counts.slice(1), 0]
      this.#draw()
    }, 1000)
  }

  beat() {
    this.#counts[SECONDS - 1] = (this.#counts[SECONDS - 1] ?? 0) + 1
    this.#draw()
  }

  #draw() {
    const most = Math.max(...this.#counts)
    const scale = (HEIGHT - 4) / Math.max(most, 4)
    const points = this.#counts.map((count, i) => `${i},${HEIGHT - 2 - count * scale}`).join(' ')
    this.#line.setAttribute('points', points)
    this.#area.setAttribute('points', `0,${HEIGHT} ${points} ${SECONDS - 1},${HEIGHT}`)
    const total = this.#counts.reduce((sum, count) => sum + count, 0)
    this.#words.textContent = `${total} ${total === 1 ? 'event' : 'events'} in the last minute, at most ${most} a second`
  }
}
