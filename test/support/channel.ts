import type { Sql } from 'postgres'

/** The channel on which a database's events are notified; its name is a secret, and random. */
export async function channelOf(sql: Sql): Promise<string> {
  const [row] = await sql<{ channel: string }[]>`select channel from glimpse.history`
  if (row === undefined) throw new Error('glimpse.history has no row')
  return row.channel
}
