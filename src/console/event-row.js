import { clockTime, element } from './dom.js'

/** An event of one's own can hold 64 KiB; a row shows its beginning. */
const DATA_SHOWN = 120

/**
 * What happened, in words: of the service's own events who did what, of any other its type and the beginning of its data.
 * @param {import('./subscription.js').GlimpseEvent} event
 * @returns {{ who: string, what: string }}
 */
export function eventWords({ type, data }) {
  const { viewer_id, user_id, emoji } = /** @type {Record<string, any>} */ (data ?? {})
  // A user who was erased from the events of others is null there.
  if (type === 'story.viewed') return { who: viewer_id ?? 'a forgotten user', what: 'viewed' }
  if (type === 'story.reacted') return { who: user_id ?? 'a forgotten user', what: `reacted ${emoji}` }
  const text = JSON.stringify(data) ?? ''
  return { who: type, what: text.length > DATA_SHOWN ? `${text.slice(0, DATA_SHOWN)} …` : text }
}

/**
 * One row of a panel's log.
 * @param {import('./subscription.js').GlimpseEvent} event
 * @param {object} [origin]
 * @param {'kept' | 'away' | 'live'} [origin.when] before the page was opened, while the panel was away, or just now
 * @param {number | undefined} [origin.sinceClick] milliseconds since the click that caused it
 */
export function eventRow(event, { when = 'live', sinceClick } = {}) {
  const { id, seq, timestamp } = event
  const { who, what } = eventWords(event)
  const aside = element('span', { class: 'aside' })
  if (when === 'away') aside.append(element('span', { class: 'badge' }, 'while away'), ' ')
  if (sinceClick !== undefined) aside.append(element('span', { class: 'fast' }, `${sinceClick} ms`), ' ')
  aside.append(element('time', { datetime: timestamp }, clockTime(timestamp)))
  return element(
    'li',
    { class: `event ${when}`, 'data-seq': String(seq), title: id },
    element('span', { class: 'seq' }, element('span', { class: 'unseen' }, 'seq '), String(seq)),
    element('span', { class: 'what' }, element('bdi', {}, who), ' ', element('span', {}, what)),
    aside,
  )
}
