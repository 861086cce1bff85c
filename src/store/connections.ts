import { boundedWait } from '../postgres/lock-timeout.ts'
import type { Pool } from '../postgres/pool.ts'

/** Why an instance must end one of its connections: the user opened too many, or closed this one. */
export type ClosingReason = 'replaced' | 'closed'

/** A connection as its instance records it. */
export interface NewConnection {
  readonly id: string
  readonly user: string
  readonly transport: string
  /** Milliseconds since 1970 on the database's clock: those of the instances may differ. */
  readonly openedAt: number
}

export interface PresentConnection {
  readonly id: string
  readonly transport: 'sse' | 'websocket' | 'durable-stream'
  /** RFC 3339, UTC. */
  readonly since: string
  readonly instance: string
}

export interface ClosingOrder {
  readonly id: string
  readonly user: string
  readonly reason: ClosingReason
}

/** An instance that was not seen for this long (three beats) is dead. */
export const LEASE_SECONDS = 6

const alive = (sql: Pool) => sql`seen_at > clock_timestamp() - make_interval(secs => ${LEASE_SECONDS})`

/** Registers an instance, without connections. */
export async function registerInstance(sql: Pool, instance: string): Promise<void> {
  await sql`
    with stale as (delete from glimpse.connections where instance = ${instance})
    insert into glimpse.instances (instance) values (${instance})
    on conflict (instance) do update set seen_at = excluded.seen_at`
}

export interface Beat {
  /** Whether the instance is still known. */
  readonly known: boolean
  /** Whether another instance is dead. */
  readonly dead: boolean
}

/** Records that the instance is alive. */
export async function beat(sql: Pool, instance: string): Promise<Beat> {
  const [row] = await sql<Beat[]>`
    with beat as (
      update glimpse.instances set seen_at = clock_timestamp() where instance = ${instance} returning 1
    )
    select exists (select from beat) as known,
           exists (select from glimpse.instances where not (${alive(sql)}) and instance <> ${instance}) as dead`
  if (row === undefined) throw new Error('a beat without an answer')
  return row
}

/** Removes dead instances and their connections. */
export async function removeDead(sql: Pool): Promise<void> {
  await sql`delete from glimpse.instances where not (${alive(sql)})`
  await sql`
    delete from glimpse.connections c
     where not exists (select from glimpse.instances i where i.instance = c.instance)`
}

export async function removeInstance(sql: Pool, instance: string): Promise<void> {
  await sql`
    with gone as (delete from glimpse.instances where instance = ${instance})
    delete from glimpse.connections where instance = ${instance}`
}

/**
 * Records which connections of an instance were opened and closed, in one statement.
 *
 * @returns false if the instance is no longer registered; then nothing was added
 */
export async function writeConnections(
  sql: Pool,
  instance: string,
  added: readonly NewConnection[],
  removed: readonly string[],
): Promise<boolean> {
  const [row] = await sql<{ known: boolean }[]>`
    with me as materialized (
      select instance from glimpse.instances where instance = ${instance} for key share
    ),
    gone as (
      delete from glimpse.connections where id = any (${removed as string[]}::uuid[])
    ),
    added as (
      insert into glimpse.connections (id, user_id, instance, transport, opened_at)
      select i.id, i.user_id, me.instance, i.transport, to_timestamp(i.opened_at / 1e6)
        from me, unnest(
          ${added.map(({ id }) => id)}::uuid[], ${added.map(({ user }) => user)}::text[],
          ${added.map(({ transport }) => transport)}::text[], ${added.map(({ openedAt }) => Math.round(openedAt * 1000))}::bigint[]
        ) as i (id, user_id, transport, opened_at)
      on conflict (id) do nothing
    )
    select exists (select from me) as known`
  return row?.known ?? false
}

/**
 * Asks the instances to end all but the newest `most` connections of each of these users. It must be a statement of its own,
 * after the new connections were recorded: of two instances that record at the same time, the later one then sees both.
 */
export async function replaceOldest(sql: Pool, users: readonly string[], most: number): Promise<void> {
  await sql`
    with ranked as (
      -- Joined: the plan for "= any (…)" that was kept from a small table compares each row with each of the users.
      select id, row_number() over (partition by user_id order by opened_at desc, id desc) as nth
        from unnest(${users as string[]}::text[]) as i (user_id)
        join glimpse.connections using (user_id) join glimpse.instances using (instance)
       where closing is null and ${alive(sql)}
    ),
    excess as (
      select id from glimpse.connections
       where id in (select id from ranked where nth > ${most}) and closing is null
         -- Another instance that has the row locked asks for the same.
         for update skip locked
    ),
    marked as (
      update glimpse.connections c set closing = 'replaced' from excess where c.id = excess.id returning c.instance
    )
    ${callInstances(sql)}`
}

/** @returns whether the user has such a connection */
export async function closeConnection(sql: Pool, user: string, id: string): Promise<boolean> {
  const called = await sql`
    with ${boundedWait(sql)},
    marked as (
      update glimpse.connections c set closing = coalesce(closing, 'closed') from bounded, glimpse.instances i
       where c.id = ${id} and c.user_id = ${user} and i.instance = c.instance and ${alive(sql)}
      returning c.instance
    )
    ${callInstances(sql)}`
  return called.length > 0
}

/** The message on the events' channel that makes an instance read its close requests; the instance's name follows. */
export const CALL = '\tclose\t'

/** Only a hint: if the NOTIFY queue is half full nothing is sent, as for events; instances read their requests at each beat. */
function callInstances(sql: Pool) {
  return sql`
    select instance, case when pg_notification_queue_usage() < 0.5 and exists (select from glimpse.history)
                          then pg_notify((select channel from glimpse.history), ${CALL}::text || instance) end
      from (select distinct instance from marked) as called`
}

/** The connections that an instance is to end. */
export async function closingOrders(sql: Pool, instance: string): Promise<ClosingOrder[]> {
  return sql<ClosingOrder[]>`
    select id, user_id as user, closing as reason from glimpse.connections
     where instance = ${instance} and closing is not null`
}

/** A user's connections on all living instances, the oldest first. */
export async function userConnections(sql: Pool, user: string): Promise<PresentConnection[]> {
  const rows = await sql<PresentConnection[]>`
    select id, transport, glimpse.rfc3339(opened_at) as since, instance
      from glimpse.connections join glimpse.instances using (instance)
     where user_id = ${user} and closing is null and ${alive(sql)}
     order by opened_at, id`
  return rows.map(({ id, transport, since, instance }) => ({ id, transport, since, instance }))
}
