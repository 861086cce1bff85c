import { hasPage } from './page-lifecycle.ts'

/**
 * Browsers open only six HTTP/1.1 connections to a host, for all tabs together; a seventh request waits silently. Each
 * stream over SSE holds a shared lock, so that a stream that does not open can count the others.
 */
const CONNECTIONS = 6

const locksOf = () => (hasPage() ? globalThis.navigator.locks : undefined) as LockManager | undefined

const nameOf = (base: URL) => `glimpse sse ${base.host}`

/** Counts a stream as open until the signal is aborted. */
export function countOpen(base: URL, signal: AbortSignal): void {
  const ended = () => new Promise((resolve) => signal.addEventListener('abort', resolve))
  locksOf()
    ?.request(nameOf(base), { mode: 'shared', signal }, ended)
    .catch(() => {})
}

/** Whether the streams of this browser may have taken all the connections to the host. */
export async function allTaken(base: URL): Promise<boolean> {
  const locks = await locksOf()?.query()
  const count = locks?.held?.filter(({ name }) => name === nameOf(base)).length ?? 0
  return count >= CONNECTIONS
}
