/**
 * The bare browser EventSource behind the page's transport interface. Its own reconnect, with the Last-Event-ID it
 * remembers from `id:`, is left to do its work; it is closed only where it would do harm.
 */

const TYPES = ['stream.open', 'stream.reset', 'stream.close', 'story.viewed', 'story.reacted']

/** @type {import('./stream.js').Transport} */
export function openEventSource({ token, cursor }, { onMessage, onInterrupted, onDown }) {
  const query = new URLSearchParams({ token })
  if (cursor !== undefined) query.set('last_event_id', cursor)
  const source = new EventSource(`/events?${query}`)

  for (const type of TYPES) {
    source.addEventListener(type, (event) => {
      const message = JSON.parse(event.data)
      onMessage(message)
      if (message.type !== 'stream.close') return
      // An EventSource reconnects with the URL it was given: with a token that has expired, or against a refusal.
      if (message.data.reconnect && message.data.reason !== 'token_expired') return
      source.close()
      onDown({})
    })
  }
  source.addEventListener('error', () => {
    // CLOSED: the answer was no event stream (a problem, a proxy's page), which an EventSource never tries again.
    if (source.readyState === EventSource.CLOSED) onDown({})
    else onInterrupted()
  })
  return () => source.close()
}
