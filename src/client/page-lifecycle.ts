/** What a browser tells of its network and its page; nothing anywhere else. */
interface Page {
  addEventListener?(type: string, listener: (event: Event) => void): void
  removeEventListener?(type: string, listener: (event: Event) => void): void
  readonly document?: { readonly visibilityState: string } & Pick<
    EventTarget,
    'addEventListener' | 'removeEventListener'
  >
}

const here: Page = globalThis

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

/**
 * Calls back when the page or its network changes.
 *
 * @returns what ends it
 */
export function watchPage(onChange: (change: PageChange) => void): () => void {
  const { document } = here
  if (!hasPage() || document === undefined) return () => {}
  const as = (change: PageChange) => () => onChange(change)
  const look = () => {
    if (!isHidden()) onChange('look')
  }
  const listeners = [
    [here, 'online', as('online')],
    [here, 'offline', as('offline')],
    [here, 'pagehide', as('away')],
    [document, 'freeze', as('away')],
    [here, 'pageshow', as('back')],
    [document, 'resume', as('back')],
    [here, 'focus', look],
    [document, 'visibilitychange', look],
  ] as const
  for (const [target, type, listener] of listeners) target.addEventListener?.(type, listener)
  return () => {
    for (const [target, type, listener] of listeners) target.removeEventListener?.(type, listener)
  }
}
