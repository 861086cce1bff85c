/** The bare browser WebSocket behind the page's transport interface. */

/** @type {import('./stream.js').Transport} */
export function openWebSocket({ token, cursor }, { onMessage, onDown }) {
  const query = new URLSearchParams({ token })
  if (cursor !== undefined) query.set('last_event_id', cursor)
  // Spelled out: relative and http(s) addresses are understood by newer browsers only.
  const origin = location.origin.replace(/^http/, 'ws')
  const socket = new WebSocket(`${origin}/ws?${query}`)

  socket.addEventListener('message', (event) => onMessage(JSON.parse(event.data)))
  socket.addEventListener('close', (event) => onDown({ code: event.code }))
  return () => socket.close(1000)
}
