const KEPT_SHOWN = 20

/**
 * The user's last events from before this page was opened, oldest first, and the cursor after them. A stream that goes on
 * after that cursor misses nothing and brings nothing twice.
 * @param {import('./identity.js').Identity} identity
 * @returns {Promise<{ events: import('./subscription.js').GlimpseEvent[], cursor: string }>}
 */
export async function keptEvents(identity) {
  const end = await identity.request({ method: 'GET', path: '/events' })
  // The log is read forwards only. A client must not look inside a cursor; this page is part of the service.
  const [epoch, last] = end.cursor.split('.')
  const before = Number(last) - KEPT_SHOWN
  const after = before > 0 ? `${epoch}.${before}` : '0'
  return identity.request({ method: 'GET', path: `/events?after=${after}&limit=${KEPT_SHOWN}` })
}
