import { byId } from './dom.js'

const NAP_MS = 5000
const PATIENCE_MS = 20_000

/**
 * The buttons that break things, and what they show: events that happened meanwhile arrive, each once and in order.
 * @param {object} options
 * @param {import('./panel.js').Panel[]} options.panels
 * @param {(many: number) => Promise<void>} options.makeEvents
 * @param {(action: () => Promise<void>) => Promise<void>} options.attempt
 */
export function breakages({ panels, makeEvents, attempt }) {
  const outcome = byId('outcome', HTMLElement)
  const buttons = ['cut', 'nap', 'burst'].map((id) => byId(id, HTMLButtonElement))

  /** @param {string} words */
  const tell = (words) => {
    outcome.textContent = words
  }

  /**
   * Runs one breakage at a time, and judges it by the numbers.
   * @param {HTMLButtonElement} button
   * @param {() => Promise<number>} breakage gives how many events it made
   */
  const offer = (button, breakage) => {
    button.addEventListener('click', () => {
      for (const each of buttons) each.disabled = true
      const restore = () => {
        for (const each of buttons) each.disabled = false
        button.focus()
      }
      void attempt(async () => {
        const before = panels.map((panel) => panel.tally.received)
        const startedAt = performance.now()
        const made = await breakage()
        await until(() => panels.every((panel, i) => panel.tally.received >= (before[i] ?? 0) + made))
        tell(judge(made, performance.now() - startedAt))
      }).finally(restore)
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

  const [cut, nap, burst] = buttons
  if (cut === undefined || nap === undefined || burst === undefined) return
  offer(cut, async () => {
    await makeEvents(1)
    tell('Cut. Three strangers view the story while the client finds its way back …')
    for (const panel of panels) panel.cut()
    await makeEvents(3)
    return 4
  })
  offer(nap, async () => {
    tell('Asleep for 5 seconds, disconnected. Five strangers view the story …')
    for (const panel of panels) panel.disconnect()
    await Promise.all([makeEvents(5), new Promise((resolve) => setTimeout(resolve, NAP_MS))])
    for (const panel of panels) panel.resume()
    return 5
  })
  offer(burst, async () => {
    tell('Thirty strangers at once …')
    await makeEvents(30)
    return 30
  })
  byId('second', HTMLButtonElement).addEventListener('click', () => {
    // With an opener the new tab starts as the same people: sessionStorage is copied.
    window.open('/', '_blank')
    tell(
      'The second tab is the same author: it hears every event too, and what is read in one is read in both.',
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
      throw new Error('Not everything has arrived within 20 s. Is the service there?')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
