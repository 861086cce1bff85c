import type { ResumePoint } from '../event.ts'
import { type Start, startFrom } from '../hub/resume.ts'
import type { StreamPage } from '../store/streams.ts'
import type { App } from './context.ts'

/**
 * One page of a user's stream after a point, and whether the reader may have missed something before it.
 *
 * @throws GlimpseError where the log cannot be read, or too many wait for it
 */
export async function readPage(
  app: App,
  user: string,
  point: ResumePoint,
  limit?: number,
): Promise<{ page: StreamPage; start: Start }> {
  const asked = point.from === 'cursor' ? point.seq : 0
  const read = (after: number) =>
    app.waiting.pass(() => app.polls.pass(user, () => app.eventLog.page(user, after, limit)))
  let page = await read(asked)
  const start = startFrom(point, page)
  if (start.cursor !== asked) page = await read(start.cursor)
  if (start.reset !== undefined) app.metrics.resets.inc({ reason: start.reset })
  return { page, start }
}
