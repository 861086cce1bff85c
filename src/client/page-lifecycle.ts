/** A browser's events about its network and its page; elsewhere there are none. */
const here: Partial<Pick<Window, 'document' | 'addEventListener'>> = globalThis

/**
 * `online`, `offline`: the network came or went. `look`: the page is visible again. `away`: the page is frozen or goes
 * into the back-forward cache, and its scripts stop until `back`.
 */
export type PageChange = 'online' | 'offline' | 'look' | 'away' | 'back'

/** Whether this runs in a page. */
export function hasPage(): boolean {
  return here.document !== undefined && here.addEventListener !== undefined
}

/** Whether the page is hidden: nobody waits for its news. */
export function isHidden(): boolean {
  return here.document?.visibilityState === 'hidden'
}

/** Calls back when the page or its network changes, until the signal is aborted. */
export function watchPage(onChange: (change: PageChange) => void, signal: AbortSignal): void {
  if (!hasPage()) return
  const on = (
    target: Partial<Pick<EventTarget, 'addEventListener'>> | undefined,
    type: string,
    change: PageChange,
  ) =>
    target?.addEventListener?.(type, () => (change === 'look' && isHidden() ? undefined : onChange(change)), {
      signal,
    })
  const { document } = here
  on(here, 'online', 'online')
  on(here, 'offline', 'offline')
  on(here, 'pagehide', 'away')
  on(document, 'freeze', 'away')
  on(here, 'pageshow', 'back')
  on(document, 'resume', 'back')
  on(here, 'focus', 'look')
  on(document, 'visibilitychange', 'look')
}
