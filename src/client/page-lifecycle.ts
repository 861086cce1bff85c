/** What a browser tells of its network and its page; nothing anywhere else. */
const here: Partial<Pick<Window, 'document' | 'addEventListener'>> = globalThis

/**
 * `online`, `offline`: the network came or went. `look`: somebody looks at the page again. `away`: the page is frozen or
 * goes into the back-forward cache, and nothing of it runs until `back`.
 */
export type PageChange = 'online' | 'offline' | 'look' | 'away' | 'back'

/** Whether there is a page at all that somebody could look at. */
export function hasPage(): boolean {
  return here.document !== undefined && here.addEventListener !== undefined
}

/** Nobody looks at the page: there is no hurry. */
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
