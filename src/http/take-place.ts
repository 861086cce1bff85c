import type { Identity } from '../auth/claims.ts'
import type { ResumePoint } from '../event.ts'
import type { Registration } from '../hub/hub.ts'
import type { Context } from './context.ts'

/**
 * Takes a place in the hub for the caller's stream. A client that leaves while it waits for its stream to begin gives the
 * place back at once: the database may take seconds to answer, and many come back again and again meanwhile.
 */
export async function takePlace(
  { app, network, request, upgradeHead }: Context,
  { user, expiresAt }: Identity,
  resume: ResumePoint,
): Promise<Registration> {
  app.pressure.admitStream()
  const { socket } = request
  let leave = () => {}
  const gone = () => leave()
  socket.once('close', gone).once('end', gone)
  // An upgraded socket is read by nobody yet, and so would not tell that its peer has left.
  const look = () => {}
  if (upgradeHead !== undefined) socket.on('readable', look)
  try {
    return await app.hub.enter(user, resume, expiresAt, network, (free) => {
      leave = free
    })
  } finally {
    socket.off('close', gone).off('end', gone).off('readable', look)
  }
}
