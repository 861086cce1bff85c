import postgres from 'postgres'

export type Pool = postgres.Sql

/**
 * A pool of connections for statements. No session state is relied on and no setting is sent at start-up, so that it
 * works through a transaction pooler too. Nothing is connected before the first statement.
 *
 * @param max the most connections open at once
 */
export function createPool(url: string, max: number, name: string): Pool {
  return postgres(url, {
    max,
    connect_timeout: 5,
    // The driver's own backoff grows to 20 s: once Postgres is back, everything would wait for that.
    backoff: (retries) => Math.min(0.05 * 2 ** retries, 1),
    connection: { application_name: name },
    onnotice: () => {},
  })
}
