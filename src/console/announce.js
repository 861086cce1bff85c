import { byId } from './dom.js'

/** News that comes within this time is read out together: a burst of events would keep a screen reader busy. */
const GATHER_MS = 400

/** @type {string[]} */
let sentences = []
/** @type {string[]} */
let events = []
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer

/**
 * Reads a sentence out to screen readers, in the page's only live region: two regions interrupt each other.
 * @param {string} sentence
 */
export function announce(sentence) {
  sentences.push(sentence)
  readOutSoon()
}

/**
 * Reads out an event; of many at once, their number and the last.
 * @param {string} event
 */
export function announceEvent(event) {
  events.push(event)
  readOutSoon()
}

function readOutSoon() {
  if (timer === undefined) timer = setTimeout(readOut, GATHER_MS)
}

function readOut() {
  const last = events.at(-1)
  const news =
    last === undefined
      ? []
      : [events.length === 1 ? `${last}.` : `${events.length} events, the last: ${last}.`]
  byId('live', HTMLElement).textContent = [...news, ...sentences].join(' ')
  sentences = []
  events = []
  timer = undefined
}
