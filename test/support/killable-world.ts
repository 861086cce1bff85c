import postgres from 'postgres'
import { onTestFinished } from 'vitest'
import { call } from './api.ts'
import { spawnInstance } from './instance.ts'
import { insertStory, insertViews } from './sql-writer.ts'
import { TcpProxy } from './tcp-proxy.ts'
import { signToken } from './token.ts'

export type KillableWorld = Awaited<ReturnType<typeof openKillableWorld>>

/**
 * A service that can be killed, with a network before it and one behind it that can be cut.
 *
 * @param databaseUrl of a database that is migrated
 * @param origin of the pages that may read from it
 * @param author of the one story that is viewed
 */
export async function openKillableWorld(databaseUrl: string, origin: string, author: string) {
  const toDatabase = await TcpProxy.before(databaseUrl)
  const environment = { DATABASE_URL: toDatabase.urlFor(databaseUrl), MIGRATE: 'off', CORS_ORIGINS: origin }
  let main = await spawnInstance(environment)
  const { port } = new URL(main.url)
  const toService = await TcpProxy.before(main.url)
  const sql = postgres(databaseUrl, { max: 1 })
  const story = await insertStory(sql, author)
  let made = 0
  onTestFinished(async () => {
    main.child.kill('SIGKILL')
    await Promise.all([toDatabase.close(), toService.close(), sql.end()])
  })
  return {
    /** The service's address, behind the network before it. */
    service: new URL(toService.urlFor(main.url)).origin,
    toDatabase,
    toService,
    /** Somebody new views the story: `viewer-1`, `viewer-2`, … */
    view: () => insertViews(sql, story, [`viewer-${++made}`]),
    /** How many connections the author has. */
    connections: async () => {
      const token = await signToken(author)
      const { json } = await call<{ connections: unknown[] }>(main.url, '/me/connections', { token })
      return json.connections.length
    },
    /** The service is killed and comes back at the same address. */
    restart: async (whileAway: () => Promise<void>) => {
      await main.kill('SIGKILL')
      await whileAway()
      main = await spawnInstance({ ...environment, PORT: port })
    },
  }
}

/** Kills service, database and network in turn, with views at every moment; `shown` waits for so many of them. */
export async function failInTurn(
  { view, restart, toDatabase, toService }: KillableWorld,
  shown: (count: number) => Promise<void>,
): Promise<void> {
  await view()
  await shown(1)

  await restart(view)
  await view()
  await shown(3)

  toDatabase.resetAll()
  toDatabase.blackhole()
  await view()
  toDatabase.heal()
  await view()
  await shown(5)

  toService.resetAll()
  await view()
  await shown(6)
}
