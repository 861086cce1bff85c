import { announce } from './announce.js'
import { Continuity } from './continuity.js'
import { clockTime, element } from './dom.js'
import { eventRow } from './event-row.js'
import { Numbers } from './numbers.js'
import { Subscription } from './subscription.js'

/** The log is for reading along, not for keeping: older rows leave the page, the counts stay. */
const ROWS_KEPT = 200

/** @typedef {import('./subscription.js').GlimpseEvent} GlimpseEvent */

/** One live panel: a stream, its buttons, its position, and the events that it brought. */
export class Panel {
  #title
  #stream
  #continuity = new Continuity()
  #numbers
  #resumed = false
  #parts
  #sinceClick
  /** Events stamped before this moment happened while the panel was away; 0 unless it resumed. */
  #awayUntil = 0
  #missed = 0
  #received = 0
  #kept = 0

  /**
   * @param {HTMLElement} section
   * @param {object} options
   * @param {string} options.title
   * @param {string} options.address what it connects to, as shown
   * @param {string} options.reference the part of /docs that describes it
   * @param {'sse' | 'websocket'} options.transport
   * @param {import('./identity.js').Identity} options.identity
   * @param {(event: GlimpseEvent) => number | undefined} options.sinceClick
   *   milliseconds since the click on this page that caused the event
   * @param {(cursor?: string) => void} options.onConnect
   * @param {(resume: HTMLButtonElement) => void} options.onDisconnect
   * @param {() => void} options.onResume
   * @param {(event: GlimpseEvent) => void} options.onEvent
   * @param {(unread: number) => void} options.onUnread
   */
  constructor(
    section,
    {
      title,
      address,
      reference,
      transport,
      identity,
      sinceClick,
      onConnect,
      onDisconnect,
      onResume,
      onEvent,
      onUnread,
    },
  ) {
    this.#title = title
    this.#sinceClick = sinceClick
    this.#parts = build(section, title, address, reference)
    this.#numbers = new Numbers(this.#parts.numbers)
    this.#stream = new Subscription(transport, identity, {
      onEvent: (event) => {
        this.#show(event)
        onEvent(event)
      },
      onReset: (reset) => this.#heedReset(reset),
      onState: (state) => this.#showState(state),
      onUnread,
    })
    const { connect, disconnect, resume } = this.#parts
    connect.addEventListener('click', () => {
      this.connect()
      onConnect()
      // The pressed button is hidden now, and focus must not fall back to the top of the page.
      disconnect.focus()
    })
    disconnect.addEventListener('click', () => {
      this.disconnect()
      onDisconnect(resume)
      resume.focus()
    })
    resume.addEventListener('click', () => {
      onConnect(this.#stream.cursor)
      onResume()
      this.resume()
      disconnect.focus()
    })
  }

  /** What it has brought so far, and what of it came from while it was away since the last break. */
  get tally() {
    return { received: this.#received, missed: this.#missed, verdict: this.#continuity.verdict() }
  }

  get live() {
    return this.#parts.section.dataset.state === 'live'
  }

  get last() {
    return this.#continuity.last
  }

  /** Continues after its cursor: what happened meanwhile comes first. */
  resume() {
    this.#away()
    this.#resumed = true
    this.#stream.connect(this.#stream.cursor)
  }

  disconnect() {
    this.#stream.disconnect()
    this.#note('Disconnected')
  }

  /** Cuts the connection as a lost network does; the client comes back by itself. */
  cut() {
    this.#note('The connection was cut')
    this.#stream.cut()
  }

  markRead() {
    return this.#stream.markRead()
  }

  /** Whether it is connected, or about to be. */
  get listening() {
    return this.#parts.connect.hidden
  }

  /**
   * Listens from now on, or from the end of the events that the log kept.
   * @param {{ events: readonly GlimpseEvent[], cursor: string }} [kept] shown first
   */
  connect(kept) {
    this.#continuity.restart()
    this.#numbers.clear()
    this.#awayUntil = 0
    this.#resumed = false
    if (kept !== undefined) this.#showKept(kept.events)
    this.#stream.connect(kept?.cursor)
  }

  /** Ends the stream and forgets its events: another user's stream has other numbers. */
  clear() {
    this.#stream.forget()
    this.#parts.log.replaceChildren()
    this.#received = 0
    this.#kept = 0
  }

  /** @param {readonly GlimpseEvent[]} events */
  #showKept(events) {
    for (const event of events) {
      this.#continuity.add(event.seq)
      this.#numbers.add(event.seq, 'kept')
      this.#append(eventRow(event, { when: 'kept' }))
    }
    this.#kept = events.length
    if (events.length > 0) this.#note('Earlier events')
  }

  /** @param {GlimpseEvent} event */
  #show(event) {
    const when = Date.parse(event.timestamp) < this.#awayUntil ? 'away' : 'live'
    if (when === 'away') this.#missed += 1
    this.#received += 1
    this.#continuity.add(event.seq)
    this.#numbers.add(event.seq, when)
    this.#append(eventRow(event, { when, sinceClick: when === 'live' ? this.#sinceClick(event) : undefined }))
    // The stream's own cursor moves once this is done.
    this.#showPosition(event.id)
  }

  /** @param {import('./client/index.js').Reset} reset */
  #heedReset({ reason, oldest }) {
    this.#continuity.restart()
    this.#numbers.clear()
    this.#note(`Reset (${reason}): events before seq ${oldest} may be lost to this page`)
    this.#showPosition()
  }

  /** From here on, what is older than the moment of coming back happened while away. */
  #away() {
    this.#awayUntil = Date.now()
    this.#missed = 0
  }

  /** @param {import('./subscription.js').State} state */
  #showState({ name, words }) {
    const { section, state, connect, disconnect, resume, choice } = this.#parts
    if (name === 'live') {
      this.#note(this.#resumed ? `Resumed after ${this.#stream.cursor}` : 'Connected, listening from now on')
      this.#resumed = true
      if (section.dataset.lost === 'true') this.#away()
    }
    section.dataset.lost = String(
      name === 'waiting' || (section.dataset.lost === 'true' && name === 'connecting'),
    )
    section.dataset.state = name
    if (state.textContent !== words && name !== 'connecting') announce(`${this.#title}: ${words}.`)
    state.textContent = words
    const active = name === 'live' || name === 'connecting' || name === 'waiting'
    const resumable = !active && this.#stream.cursor !== undefined
    connect.hidden = active
    disconnect.hidden = !active
    resume.hidden = !resumable
    choice.hidden = !resumable
    this.#showPosition()
  }

  #showPosition(position = this.#stream.cursor) {
    const { section, cursor, continuity, received } = this.#parts
    const { sound, words } = this.#continuity.verdict()
    section.dataset.sound = sound === undefined ? 'unknown' : String(sound)
    continuity.textContent = words
    cursor.textContent = position ?? '–'
    const missed = this.#missed > 0 ? `, ${this.#missed} from while away` : ''
    const kept = this.#kept > 0 ? `, ${this.#kept} more from before` : ''
    received.textContent = `${this.#received} ${this.#received === 1 ? 'event' : 'events'}${missed}${kept}`
  }

  /** @param {string} words */
  #note(words) {
    this.#append(
      element(
        'li',
        { class: 'mark-line' },
        words,
        ' ',
        element('time', {}, clockTime(new Date().toISOString())),
      ),
    )
  }

  /** @param {HTMLLIElement} row */
  #append(row) {
    this.#parts.log.prepend(row)
    while (this.#parts.log.childElementCount > ROWS_KEPT) this.#parts.log.lastElementChild?.remove()
  }
}

/**
 * @param {HTMLElement} section
 * @param {string} title
 * @param {string} address
 * @param {string} reference
 */
function build(section, title, address, reference) {
  const titleId = `${section.id}-title`
  const choiceId = `${section.id}-choice`
  const state = element('span', { class: 'state' }, 'disconnected')
  const cursor = element('code', {}, '–')
  const continuity = element('span', { class: 'continuity' }, 'no events yet')
  const received = element('span', {}, '0 events')
  const connect = element('button', { type: 'button', 'aria-describedby': choiceId }, 'Connect')
  const disconnect = element('button', { type: 'button', hidden: true }, 'Disconnect')
  const resume = element('button', { type: 'button', 'aria-describedby': choiceId, hidden: true }, 'Resume')
  const choice = element(
    'p',
    { class: 'hint', id: choiceId, hidden: true },
    'Resume continues after the cursor, with what was missed. Connect starts from now.',
  )
  const numbers = element('ol', { class: 'numbers', 'aria-hidden': 'true' })
  const log = element('ol')
  section.append(
    element(
      'div',
      { class: 'panel-head' },
      element('h3', { id: titleId }, title),
      element('a', { href: reference }, element('code', {}, address)),
      state,
      element(
        'div',
        { class: 'buttons', role: 'group', 'aria-labelledby': titleId },
        resume,
        connect,
        disconnect,
      ),
    ),
    choice,
    numbers,
    element(
      'div',
      // Scrolled by keyboard too. Not a live region: announce.js reads events out once, not once for each panel.
      { class: 'log', role: 'group', 'aria-label': `${title} events, newest first`, tabindex: '0' },
      log,
    ),
    element(
      'details',
      {},
      element('summary', {}, 'Details'),
      element(
        'dl',
        { class: 'facts' },
        element('div', {}, element('dt', {}, 'Completeness'), element('dd', {}, continuity)),
        element('div', {}, element('dt', {}, 'Cursor'), element('dd', {}, cursor)),
        element('div', {}, element('dt', {}, 'Received'), element('dd', {}, received)),
      ),
    ),
  )
  return { section, state, cursor, continuity, received, connect, disconnect, resume, choice, numbers, log }
}
