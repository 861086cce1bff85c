import { Continuity } from './continuity.js'
import { clockTime, element } from './dom.js'
import { Stream } from './stream.js'

/** The log is for reading along, not for keeping: older rows leave the page, the counts stay. */
const ROWS_KEPT = 200

/**
 * One live panel: a stream, its buttons, where it is, and what it brought.
 */
export class Panel {
  #stream
  #continuity = new Continuity()
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
   * @param {import('./stream.js').Transport} options.transport
   * @param {import('./identity.js').Identity} options.identity
   * @param {(event: import('./stream.js').StoryEvent) => number | undefined} options.sinceClick
   *   milliseconds since the click on this page that caused the event
   * @param {(cursor?: string) => void} options.onConnect
   * @param {() => void} options.onDisconnect
   * @param {() => void} options.onResume
   */
  constructor(
    section,
    { title, address, announce, transport, identity, sinceClick, onConnect, onDisconnect, onResume },
  ) {
    this.#sinceClick = sinceClick
    this.#parts = build(section, title, address, announce)
    this.#stream = new Stream(transport, identity, {
      onEvent: (event) => this.#show(event),
      onControl: (control) => this.#heed(control),
      onState: (state) => this.#showState(state),
    })
    const { connect, disconnect, resume } = this.#parts
    connect.addEventListener('click', () => {
      this.connect()
      onConnect()
      // The pressed button is disabled now, and focus must not fall back to the top of the page.
      disconnect.focus()
    })
    disconnect.addEventListener('click', () => {
      this.#stream.disconnect()
      this.#note('Disconnected')
      onDisconnect()
      resume.focus()
    })
    resume.addEventListener('click', () => {
      this.#awayUntil = Date.now()
      onConnect(this.#stream.cursor)
      onResume()
      this.#stream.connect({ resume: true })
      disconnect.focus()
    })
  }

  /** Whether it is connected, or on its way to be. */
  get listening() {
    return this.#parts.connect.disabled
  }

  /** Listens from now on. */
  connect() {
    this.#continuity.restart()
    this.#awayUntil = 0
    this.#stream.connect({ resume: false })
  }

  /** Starts over as somebody else: another user's stream has another count. */
  changeUser() {
    this.#stream.forget()
    this.#parts.log.replaceChildren()
    this.#received = 0
    this.connect()
  }

  /** @param {import('./stream.js').StoryEvent} event */
  #show(event) {
    const missed = Date.parse(event.timestamp) < this.#awayUntil
    if (missed) this.#missed += 1
    this.#received += 1
    this.#continuity.add(event.seq)
    this.#append(eventRow(event, missed, missed ? undefined : this.#sinceClick(event)))
    this.#showPlace()
  }

  /** @param {import('./stream.js').Control} control */
  #heed({ type, data }) {
    if (type === 'stream.open') {
      this.#missed = 0
      this.#note(data.resumed ? `Resumed after ${data.cursor}` : 'Connected, listening from now on')
    } else if (type === 'stream.reset') {
      this.#continuity.restart()
      this.#note(`Reset (${data.reason}): events before seq ${data.oldest} may be lost to this page`)
    } else {
      this.#note(`The server closes: ${data.reason}`)
    }
    this.#showPlace()
  }

  /** @param {import('./stream.js').State} state */
  #showState({ name, words }) {
    const { section, state, connect, disconnect, resume } = this.#parts
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

  #showPlace() {
    const { section, cursor, continuity, received } = this.#parts
    const { sound, words } = this.#continuity.verdict()
    section.dataset.sound = sound === undefined ? 'unknown' : String(sound)
    continuity.textContent = words
    cursor.textContent = this.#stream.cursor ?? '–'
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
 * @param {import('./stream.js').StoryEvent} event
 * @param {boolean} missed
 * @param {number | undefined} sinceClick
 */
function eventRow({ id, seq, type, data, timestamp }, missed, sinceClick) {
  const viewed = type === 'story.viewed'
  const who = String(viewed ? data.viewer_id : data.user_id)
  const what = viewed ? 'viewed' : `reacted ${data.emoji}`
  const aside = element('span', { class: 'aside' })
  if (missed) aside.append(element('span', { class: 'badge' }, 'while away'), ' ')
  if (sinceClick !== undefined) aside.append(element('span', { class: 'fast' }, `${sinceClick} ms`), ' ')
  aside.append(element('time', { datetime: timestamp }, clockTime(timestamp)))
  return element(
    'li',
    { class: 'event', 'data-seq': String(seq), title: `${id}, story ${data.story_id}` },
    element('span', { class: 'seq' }, element('span', { class: 'unseen' }, 'seq '), String(seq)),
    element('span', { class: 'what' }, element('bdi', {}, who), ' ', element('span', {}, what)),
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
  const titleId = `${section.id}-title`
  const logId = `${section.id}-log`
  const log = element('ol', {
    class: 'log',
    id: logId,
    role: 'log',
    'aria-live': announce,
    'aria-label': `${title} events, newest first`,
    // Scrolled by keyboard too.
    tabindex: '0',
  })
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
    log,
  )
  return { section, state, cursor, continuity, received, connect, disconnect, resume, log }
}
