import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Waits this long, or until the signal.
 *
 * @param ref false: it keeps no process alive
 */
export async function pause(milliseconds: number, signal: AbortSignal, ref = true): Promise<undefined> {
  await sleep(milliseconds, undefined, { signal, ref }).catch(() => {})
}
