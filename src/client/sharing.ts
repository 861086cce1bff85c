import type { Context } from './context.ts'
import { within } from './deadline.ts'
import { readPage } from './poll.ts'
import type { Tabs, TabsOptions } from './tabs.ts'
import { type ConnectOptions, StreamError, wordsOf } from './types.ts'

/**
 * Joins the other tabs of this user. Loads the module for it only here, because most pages don't need it.
 *
 * @returns undefined if tabs can't share: then this one has a connection of its own
 */
export async function findTabs(
  context: Context,
  connect: ConnectOptions,
  stream: TabsOptions['stream'],
): Promise<Tabs | undefined> {
  const { base, tokens, signal, timing, debug } = context
  try {
    // The server of the page's scripts may not answer.
    const module = await within(import('./tabs.ts'), signal, timing.answerTimeoutMs, 'loading')
    if (tokens.user !== undefined && module.canShareTabs())
      return new module.Tabs({
        name: `glimpse ${base} ${tokens.user}`,
        context,
        connect,
        stream,
        readPage,
        error: StreamError,
      })
    debug('tabs: not shared here')
  } catch (error) {
    debug(`tabs: ${wordsOf(error)}`)
  }
  return undefined
}
