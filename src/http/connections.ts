import { closeConnection, userConnections } from '../store/connections.ts'
import { authenticate, type Handler } from './context.ts'
import { connectionId, unknownConnection } from './fields.ts'
import { stored } from './stored.ts'

/** `GET /me/connections`: where the caller is connected, on whichever instances. */
export const getConnections: Handler = async (context) => {
  const { app } = context
  const { user } = await authenticate(context)
  // So that the list includes a connection that was opened here just now.
  await app.presence.written()
  const connections = await stored(context, () => userConnections(app.sql, user))
  return { status: 200, body: { connections } }
}

/** `DELETE /me/connections/{id}`: ends it, on this instance at once and on others within a second. */
export const deleteConnection: Handler = async (context) => {
  const { app, params } = context
  const { user } = await authenticate(context)
  const id = connectionId(params.connection)
  if (app.hub.end(user, id, 'closed')) return { status: 204 }
  if (!(await stored(context, () => closeConnection(app.edits, user, id)))) throw unknownConnection()
  return { status: 204 }
}
