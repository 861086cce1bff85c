import { authenticate, type Handler } from './context.ts'

/** `POST /tickets`: what can stand for the caller's token in the URL of one stream, so that the token need not. */
export const postTicket: Handler = async (context) => {
  const { app } = context
  const identity = await authenticate(context)
  const { ticket, seconds } = await app.waiting.pass(() => app.tickets.issue(identity))
  return { status: 201, body: { ticket, expires_in: Math.max(1, Math.floor(seconds)) } }
}
