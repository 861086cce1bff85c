import { authenticate, type Handler } from './context.ts'

/** `POST /tickets`: a ticket that replaces the caller's token in the URL of one stream. */
export const postTicket: Handler = async (context) => {
  const { app } = context
  const identity = await authenticate(context)
  const { ticket, seconds } = await app.waiting.pass(() => app.tickets.issue(identity))
  return { status: 201, body: { ticket, expires_in: Math.max(1, Math.floor(seconds)) } }
}
