import { randomBytes } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { StartError } from '../errors.ts'
import { adopt, type Layout } from './layout.ts'

/** What a client needs to connect; the host is always 127.0.0.1. */
export interface Connection {
  readonly password: string
  /** The port of the last start. It is used again if it is free, so that copied URLs stay valid. */
  readonly port: number
}

export const ROLE = 'glimpse'
export const DATABASE = 'glimpse'

export function urlOf(connection: Connection, database = DATABASE): string {
  return `postgres://${ROLE}:${connection.password}@127.0.0.1:${connection.port}/${database}`
}

export function newConnection(): Connection {
  return { password: randomBytes(18).toString('base64url'), port: 0 }
}

/** Undefined if none was written yet. */
export async function readConnection(layout: Layout): Promise<Connection | undefined> {
  try {
    return JSON.parse(await readFile(layout.connection, 'utf8')) as Connection
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StartError(
      `DATA_DIR ${layout.dataDir}: ${layout.connection} can't be read: ${(cause as Error).message}`,
      { cause },
    )
  }
}

export async function writeConnection(layout: Layout, connection: Connection): Promise<void> {
  const draft = `${layout.connection}.draft`
  await writeFile(draft, `${JSON.stringify(connection)}\n`, { mode: 0o600 })
  await adopt(layout, draft)
  await rename(draft, layout.connection)
}

/** The wanted port of 127.0.0.1 if it is free, else any. Another program may still take it before Postgres does. */
export async function freePort(wanted: number): Promise<number> {
  return (await tryPort(wanted)) ?? (await tryPort(0)) ?? 0
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : undefined))
    })
  })
}
