import { byId, setUsable } from './dom.js'

const NAP_MS = 5000
const PATIENCE_MS = 20_000

/**
 * The buttons that break something on purpose. Afterwards they check that the events of meanwhile arrived, each once and
 * in order.
 * @param {object} options
 * @param {import('./panel.js').Panel[]} options.panels
 * @param {import('./guide.js').Guide} options.guide
 * @param {(many: number) => Promise<void>} options.makeEvents
 * @param {(action: () => Promise<void>) => Promise<void>} options.attempt
 */
export function breakages({ panels, guide, makeEvents, attempt }) {
  const names = /** @type {const} */ (['cut', 'nap', 'burst'])
  const buttons = names.map((id) => byId(id, HTMLButtonElement))
  const reason = byId('break-reason', HTMLElement)

  /** @param {boolean} busy */
  const setBusy = (busy) => {
    for (const button of buttons) setUsable(button, !busy)
    guide.setBusy(busy)
    reason.textContent = busy ? 'One at a time: wait until this one is over.' : ''
  }

  /**
   * Runs one breakage at a time, and judges it by the numbers.
   * @param {typeof names[number]} id
   * @param {() => Promise<number>} breakage gives how many events it made
   */
  const offer = (id, breakage) => {
    byId(id, HTMLButtonElement).addEventListener('click', () => {
      setBusy(true)
      void attempt(async () => {
        const before = panels.map((panel) => panel.tally.received)
        const startedAt = performance.now()
        const made = await breakage()
        await until(() => panels.every((panel, i) => panel.tally.received >= (before[i] ?? 0) + made))
        guide.done(id)
        guide.lead()
        guide.say(judge(made, performance.now() - startedAt))
      }).finally(() => setBusy(false))
    })
  }

  /**
   * @param {number} made
   * @param {number} tookMs
   */
  const judge = (made, tookMs) => {
    const unsound = panels.filter((panel) => panel.tally.verdict.sound === false)
    if (unsound.length > 0) return `Not complete: ${unsound[0]?.tally.verdict.words}. That is a bug.`
    const last = panels[0]?.last ?? made
    const range = made === 1 ? `event ${last}` : `events ${last - made + 1} to ${last}`
    return `All ${range} arrived on both transports, each once and in order, ${(tookMs / 1000).toFixed(1)} s after you pressed. Nothing is missing.`
  }

  offer('cut', async () => {
    await makeEvents(1)
    guide.say('Cut. Three other users view the story while the client reconnects …')
    for (const panel of panels) panel.cut()
    await makeEvents(3)
    return 4
  })
  offer('nap', async () => {
    guide.say('Disconnected for 5 seconds. Five other users view the story …')
    for (const panel of panels) panel.disconnect()
    await Promise.all([makeEvents(5), new Promise((resolve) => setTimeout(resolve, NAP_MS))])
    for (const panel of panels) panel.resume()
    return 5
  })
  offer('burst', async () => {
    guide.say('Thirty other users view the story at once …')
    await makeEvents(30)
    return 30
  })
  byId('second', HTMLButtonElement).addEventListener('click', () => {
    // With an opener the new tab starts as the same people: sessionStorage is copied.
    window.open('/', '_blank')
    guide.say(
      'The second tab is the same author: it gets every event too, and what is read in one is read in both.',
    )
  })
}

/**
 * @param {() => boolean} condition
 * @returns {Promise<void>} rejects where it does not come true in time
 */
async function until(condition) {
  const deadline = performance.now() + PATIENCE_MS
  while (!condition()) {
    if (performance.now() > deadline)
      throw new Error('Not everything has arrived within 20 s. Is the service running?')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
