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

/** Nobody looks at the page: there is no hurry. */
export function isHidden(): boolean {
  return here.document?.visibilityState === 'hidden'
}

/**
 * Calls back when it makes sense to look after the connection at once: the network is there again (`online`), or the
 * page is looked at again, after a nap of the machine or out of the back-forward cache (`visible`).
 *
 * @returns what ends it
 */
export function watchPage(onBack: (what: 'online' | 'visible') => void): () => void {
  if (here.document === undefined || here.addEventListener === undefined) return () => {}
  const { document } = here
  const online = () => onBack('online')
  const visible = () => {
    if (!isHidden()) onBack('visible')
  }
  here.addEventListener('online', online)
  here.addEventListener('pageshow', visible)
  document.addEventListener('visibilitychange', visible)
  return () => {
    here.removeEventListener?.('online', online)
    here.removeEventListener?.('pageshow', visible)
    document.removeEventListener('visibilitychange', visible)
  }
}
