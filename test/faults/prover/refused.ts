import type { Instance } from './instance.ts'

const AT_ONCE = 50

/**
 * Has an instance refuse so many requests, each of which is a line of its log at level trace.
 *
 * @returns whether all were answered; none is sent after one that was not
 */
export async function makeLogLines(instance: Instance, count: number): Promise<boolean> {
  const refused = async () => {
    const answer = await fetch(`${instance.url}/stories/x`, { signal: AbortSignal.timeout(5000) })
    await answer.arrayBuffer()
  }
  try {
    for (let made = 0; made < count; made += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, refused))
    return true
  } catch {
    return false
  }
}

/** Lines of its log that an instance could not write since it started. */
export function lostLines(instance: Instance): Promise<number> {
  return instance.metric('glimpse_log_lines_lost_total')
}
