import { Cursors } from '../cursor.ts'
import { GlimpseError } from '../errors.ts'
import { readJson } from './body.ts'
import { authenticate, type Handler } from './context.ts'
import { parseBody, ReadBody } from './fields.ts'

const FOREIGN = {
  epoch: 'The cursor is from another history of the database, or from another user.',
  ahead: 'The cursor is beyond the end of the stream: it is not from this history, or not from this user.',
}

/** `PUT /me/read`: the caller has read everything up to a cursor, on all devices. */
export const putRead: Handler = async (context) => {
  const { user } = await authenticate(context)
  const { cursor } = parseBody(ReadBody, await readJson(context))
  const marked = await context.app.reads.submit({ user, ...cursor })
  if (marked.outcome !== 'marked')
    throw new GlimpseError('foreign_cursor', { field: 'cursor', detail: FOREIGN[marked.outcome] })
  const { epoch, read, unread } = marked
  return { status: 200, body: { cursor: new Cursors(user).format(epoch, read), unread } }
}
