import type { Identity } from '../auth/claims.ts'
import type { ResumePoint } from '../event.ts'
import type { Registration } from '../hub/hub.ts'
import type { Context } from './context.ts'

/**
 * Registers the caller's stream in the hub. If the client leaves before its stream begins, the registration is undone at once:
 * the database may take seconds to answer, and many clients reconnect again and again meanwhile.
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
  // Nobody reads an upgraded socket yet, so we would not notice that its peer has left.
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
