import { Continuity } from './continuity.js'
import { clockTime, element } from './dom.js'
import { Numbers } from './numbers.js'
import { Subscription } from './subscription.js'

/** The log is for reading along, not for keeping: older rows leave the page, the counts stay. */
const ROWS_KEPT = 200

/**
 * One live panel: a stream, its buttons, where it is, and what it brought.
 */
export class Panel {
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

  /**
   * @param {HTMLElement} section
   * @param {object} options
   * @param {string} options.title
   * @param {string} options.address what it connects to, as shown
   * @param {'polite' | 'off'} options.announce both panels bring the same events: only one may read them out
   * @param {'sse' | 'websocket'} options.transport
   * @param {import('./identity.js').Identity} options.identity
   * @param {(event: import('./subscription.js').GlimpseEvent) => number | undefined} options.sinceClick
   *   milliseconds since the click on this page that caused the event
   * @param {(cursor?: string) => void} options.onConnect
   * @param {() => void} options.onDisconnect
   * @param {() => void} options.onResume
   * @param {(event: import('./subscription.js').GlimpseEvent) => void} options.onEvent
   * @param {(unread: number) => void} options.onUnread
   */
  constructor(
    section,
    {
      title,
      address,
      announce,
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
    this.#sinceClick = sinceClick
    this.#parts = build(section, title, address, announce)
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
      // The pressed button is disabled now, and focus must not fall back to the top of the page.
      disconnect.focus()
    })
    disconnect.addEventListener('click', () => {
      this.disconnect()
      onDisconnect()
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

  /** Goes on after its cursor: what happened meanwhile comes first. */
  resume() {
    this.#away()
    this.#resumed = true
    this.#stream.connect({ resume: true })
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

  /** Whether it is connected, or on its way to be. */
  get listening() {
    return this.#parts.connect.disabled
  }

  /** Listens from now on. */
  connect() {
    this.#continuity.restart()
    this.#numbers.clear()
    this.#awayUntil = 0
    this.#resumed = false
    this.#stream.connect({ resume: false })
  }

  /** Starts over as somebody else: another user's stream has another count. */
  changeUser() {
    this.#stream.forget()
    this.#parts.log.replaceChildren()
    this.#received = 0
    this.connect()
  }

  /** @param {import('./subscription.js').GlimpseEvent} event */
  #show(event) {
    const missed = Date.parse(event.timestamp) < this.#awayUntil
    if (missed) this.#missed += 1
    this.#received += 1
    this.#continuity.add(event.seq)
    this.#numbers.add(event.seq, missed)
    this.#append(eventRow(event, missed, missed ? undefined : this.#sinceClick(event)))
    // The stream's own cursor moves once this is done.
    this.#showPlace(event.id)
  }

  /** @param {import('./client/index.js').Reset} reset */
  #heedReset({ reason, oldest }) {
    this.#continuity.restart()
    this.#numbers.clear()
    this.#note(`Reset (${reason}): events before seq ${oldest} may be lost to this page`)
    this.#showPlace()
  }

  /** From here on, what is older than the moment of coming back happened while away. */
  #away() {
    this.#awayUntil = Date.now()
    this.#missed = 0
  }

  /** @param {import('./subscription.js').State} state */
  #showState({ name, words }) {
    const { section, state, connect, disconnect, resume } = this.#parts
    if (name === 'live') {
      this.#note(this.#resumed ? `Resumed after ${this.#stream.cursor}` : 'Connected, listening from now on')
      this.#resumed = true
      if (section.dataset.lost === 'true') this.#away()
    }
    section.dataset.lost = String(
      name === 'waiting' || (section.dataset.lost === 'true' && name === 'connecting'),
    )
    section.dataset.state = name
    state.textContent = words
    const active = name === 'live' || name === 'connecting' || name === 'waiting'
    const resumable = !active && this.#stream.cursor !== undefined
    connect.disabled = active
    disconnect.disabled = !active
    resume.disabled = !resumable
    resume.classList.toggle('primary', resumable)
    connect.classList.toggle('primary', !active && !resumable)
    this.#showPlace()
  }

  #showPlace(place = this.#stream.cursor) {
    const { section, cursor, continuity, received } = this.#parts
    const { sound, words } = this.#continuity.verdict()
    section.dataset.sound = sound === undefined ? 'unknown' : String(sound)
    continuity.textContent = words
    cursor.textContent = place ?? '–'
    const missed = this.#missed > 0 ? `, ${this.#missed} from while away` : ''
    received.textContent = `${this.#received} ${this.#received === 1 ? 'event' : 'events'}${missed}`
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
 * @param {import('./subscription.js').GlimpseEvent} event
 * @param {boolean} missed
 * @param {number | undefined} sinceClick
 */
function eventRow(event, missed, sinceClick) {
  const { id, seq, data, timestamp } = event
  const who = event.type === 'story.viewed' ? event.data.viewer_id : event.data.user_id
  const what = event.type === 'story.viewed' ? 'viewed' : `reacted ${event.data.emoji}`
  const aside = element('span', { class: 'aside' })
  if (missed) aside.append(element('span', { class: 'badge' }, 'while away'), ' ')
  if (sinceClick !== undefined) aside.append(element('span', { class: 'fast' }, `${sinceClick} ms`), ' ')
  aside.append(element('time', { datetime: timestamp }, clockTime(timestamp)))
  return element(
    'li',
    { class: 'event', 'data-seq': String(seq), title: `${id}, story ${data.story_id}` },
    element('span', { class: 'seq' }, element('span', { class: 'unseen' }, 'seq '), String(seq)),
    element(
      'span',
      { class: 'what' },
      element('bdi', {}, who ?? 'a forgotten user'),
      ' ',
      element('span', {}, what),
    ),
    aside,
  )
}

/**
 * @param {HTMLElement} section
 * @param {string} title
 * @param {string} address
 * @param {'polite' | 'off'} announce
 */
function build(section, title, address, announce) {
  const state = element('span', { class: 'state', role: 'status' }, 'disconnected')
  const cursor = element('code', {}, '–')
  const continuity = element('span', { class: 'continuity' }, 'no events yet')
  const received = element('span', {}, '0 events')
  const connect = element('button', { type: 'button' }, 'Connect')
  const disconnect = element('button', { type: 'button', disabled: true }, 'Disconnect')
  const resume = element('button', { type: 'button', disabled: true }, 'Resume')
  const numbers = element('ol', { class: 'numbers', 'aria-hidden': 'true' })
  const titleId = `${section.id}-title`
  const logId = `${section.id}-log`
  const log = element('ol')
  const scroller = element(
    'div',
    {
      class: 'log',
      id: logId,
      role: 'log',
      'aria-live': announce,
      'aria-label': `${title} events, newest first`,
      // Scrolled by keyboard too.
      tabindex: '0',
    },
    log,
  )
  section.append(
    element(
      'div',
      { class: 'panel-head' },
      element('h3', { id: titleId }, title),
      element('code', {}, address),
      state,
    ),
    element(
      'div',
      { class: 'buttons', role: 'group', 'aria-labelledby': titleId },
      connect,
      disconnect,
      resume,
    ),
    element(
      'dl',
      { class: 'facts' },
      element('div', {}, element('dt', {}, 'Completeness'), element('dd', {}, continuity)),
      element('div', {}, element('dt', {}, 'Cursor'), element('dd', {}, cursor)),
      element('div', {}, element('dt', {}, 'Received'), element('dd', {}, received)),
    ),
    numbers,
    scroller,
  )
  return { section, state, cursor, continuity, received, connect, disconnect, resume, numbers, log }
}
