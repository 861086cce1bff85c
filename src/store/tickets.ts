import { hash, randomBytes } from 'node:crypto'
import { GlimpseError } from '../errors.ts'
import { asGlimpseError } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'

/** Long enough for a page to open its stream, over a slow network too. */
export const TICKET_SECONDS = 30

/** The user of a ticket, and when the token behind it expires (ms since 1970). */
export interface Holder {
  readonly user: string
  readonly expiresAt: number
}

interface Issued extends Holder {
  readonly digest: string
  readonly seconds: number
}

export interface TicketsOptions {
  readonly sql: Pool
  /** The most tickets that a user may have open at once. */
  readonly maxPerUser: number
  readonly onLimited: () => void
}

const TICKET = /^[\w-]{43}$/

/** Tickets: single-use stand-ins for tokens, valid on every instance. Many callers share statements. */
export class Tickets {
  readonly #issuing: BatchLoader<Issued, boolean>
  readonly #redeeming: BatchLoader<string, Holder | null>

  readonly #onLimited: () => void

  constructor({ sql, maxPerUser, onLimited }: TicketsOptions) {
    this.#onLimited = onLimited
    const bounds = { maxRequests: 500, concurrency: 2 }
    this.#issuing = new BatchLoader((tickets) => insertTickets(sql, tickets, maxPerUser), bounds)
    this.#redeeming = new BatchLoader((digests) => takeTickets(sql, digests), bounds)
  }

  /**
   * @returns 256 random bits in base64url, and their lifetime in seconds: never longer than that of the token
   * @throws GlimpseError `too_many_requests` if the user has too many open tickets
   */
  async issue(holder: Holder): Promise<{ ticket: string; seconds: number }> {
    const ticket = randomBytes(32).toString('base64url')
    const seconds = Math.max(0, Math.min(TICKET_SECONDS, (holder.expiresAt - Date.now()) / 1000))
    const issued = await this.#issuing
      .ask({ ...holder, digest: digestOf(ticket), seconds })
      .catch(rejectAsGlimpseError)
    if (issued) return { ticket, seconds }
    this.#onLimited()
    throw new GlimpseError('too_many_requests', {
      detail: 'This user has too many tickets open.',
      retryAfter: TICKET_SECONDS,
    })
  }

  /** Consumes a ticket. @returns its holder; undefined if it is unknown, used or expired */
  async redeem(ticket: string): Promise<Holder | undefined> {
    if (!TICKET.test(ticket)) return undefined
    return (await this.#redeeming.ask(digestOf(ticket)).catch(rejectAsGlimpseError)) ?? undefined
  }
}

/** @returns for each whether it was issued. A user may exceed the bound by a few on several instances at the same moment */
async function insertTickets(sql: Pool, tickets: readonly Issued[], maxPerUser: number): Promise<boolean[]> {
  const rows = await sql<{ digest: string }[]>`
    insert into glimpse.tickets (digest, user_id, token_ends_at, expires_at)
    select digest, user_id, token_ends_at, clock_timestamp() + make_interval(secs => milliseconds / 1000.0)
      from (
        select i.*, row_number() over (partition by user_id order by nth) as place
          from unnest(
            ${tickets.map(({ digest }) => digest)}::text[], ${tickets.map(({ user }) => user)}::text[],
            ${tickets.map(({ expiresAt }) => Math.floor(expiresAt))}::bigint[],
            ${tickets.map(({ seconds }) => Math.floor(seconds * 1000))}::bigint[]
          ) with ordinality as i (digest, user_id, token_ends_at, milliseconds, nth)
      ) i
     cross join lateral (
       select count(*) as open from (
         select from glimpse.tickets t
          where t.user_id = i.user_id collate "C" and t.expires_at > clock_timestamp() limit ${maxPerUser}
       ) t
     ) t
     where t.open + i.place <= ${maxPerUser}
    returning digest`
  const issued = new Set(rows.map(({ digest }) => digest))
  return tickets.map(({ digest }) => issued.has(digest))
}

/** If several requests have the same ticket, on whichever instances, only the first gets its holder. */
async function takeTickets(sql: Pool, digests: readonly string[]): Promise<(Holder | null)[]> {
  const rows = await sql<{ digest: string; user: string; expiresAt: number; fresh: boolean }[]>`
    with held as (
      -- A locked row is being consumed by another statement. Waiting for several such rows, two instances could deadlock.
      select digest from glimpse.tickets where digest = any (${digests as string[]}::text[]) for update skip locked
    )
    delete from glimpse.tickets t using held where t.digest = held.digest
    returning t.digest, user_id as "user", token_ends_at as "expiresAt", expires_at > clock_timestamp() as fresh`
  const found = new Map(rows.filter(({ fresh }) => fresh).map((row) => [row.digest, row]))
  return digests.map((digest) => {
    const row = found.get(digest)
    found.delete(digest)
    return row === undefined ? null : { user: row.user, expiresAt: row.expiresAt }
  })
}

function digestOf(ticket: string): string {
  return hash('sha256', ticket, 'base64url')
}

function rejectAsGlimpseError(error: unknown): never {
  throw asGlimpseError(error)
}
