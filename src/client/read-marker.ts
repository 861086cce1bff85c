import { ask, JSON_TYPE, Refused } from './attempt.ts'
import type { Context } from './context.ts'
import { within } from './deadline.ts'
import { StreamError } from './types.ts'

/**
 * Moves the user's read mark, on all devices. A refused token is exchanged once.
 *
 * @returns the mark as it is now, and how many events are after it
 * @throws StreamError `refused` with the status if the service refuses it, or the reason why the stream has ended; an
 *   Error if there is no answer in time
 */
export async function markRead(
  context: Context,
  cursor: string,
): Promise<{ readonly cursor: string; readonly unread: number }> {
  const { tokens, signal, timing } = context
  const put = async () => {
    const caller = { ...context, token: await tokens.current() }
    const init = { method: 'PUT', body: JSON.stringify({ cursor }) }
    return (await ask(caller, 'me/read', JSON_TYPE, {}, init)).json()
  }
  const work = put().catch((error) => {
    if (error.status !== 401 || !tokens.mayImprove) throw error
    tokens.refuse()
    return put()
  })
  try {
    return await within(work, signal, timing.answerTimeoutMs, 'markRead')
  } catch (error) {
    throw error instanceof Refused ? new StreamError('refused', error.message, error) : error
  }
}
