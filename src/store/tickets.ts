import { hash, randomBytes } from 'node:crypto'
import { asGlimpseError } from '../postgres/failure.ts'
import type { Pool } from '../postgres/pool.ts'
import { BatchLoader } from './batch-loader.ts'

/** Long enough for a page to open its stream, over a slow network too. */
export const TICKET_SECONDS = 30

/** Whom a ticket speaks for, and when the token behind it ends (ms since 1970). */
export interface Holder {
  readonly user: string
  readonly expiresAt: number
}

interface Issued extends Holder {
  readonly digest: string
}

const TICKET = /^[\w-]{43}$/

/** Single-use stand-ins for tokens, good on every instance. Tickets of many callers share statements. */
export class Tickets {
  readonly #issuing: BatchLoader<Issued, true>
  readonly #redeeming: BatchLoader<string, Holder | null>

  constructor(sql: Pool) {
    const bounds = { maxRequests: 500, concurrency: 2 }
    this.#issuing = new BatchLoader(async (tickets) => {
      await insertTickets(sql, tickets)
      return tickets.map(() => true)
    }, bounds)
    this.#redeeming = new BatchLoader((digests) => takeTickets(sql, digests), bounds)
  }

  /** @returns 256 random bits in base64url */
  async issue(holder: Holder): Promise<string> {
    const ticket = randomBytes(32).toString('base64url')
    await this.#issuing.ask({ ...holder, digest: digestOf(ticket) }).catch(rejectAsGlimpseError)
    return ticket
  }

  /** Uses a ticket up. @returns its holder; undefined where it is unknown, used or too old */
  async redeem(ticket: string): Promise<Holder | undefined> {
    if (!TICKET.test(ticket)) return undefined
    return (await this.#redeeming.ask(digestOf(ticket)).catch(rejectAsGlimpseError)) ?? undefined
  }
}

async function insertTickets(sql: Pool, tickets: readonly Issued[]): Promise<void> {
  await sql`
    insert into glimpse.tickets (digest, user_id, token_ends_at, expires_at)
    select digest, user_id, token_ends_at, clock_timestamp() + make_interval(secs => ${TICKET_SECONDS})
      from unnest(
        ${tickets.map(({ digest }) => digest)}::text[], ${tickets.map(({ user }) => user)}::text[],
        ${tickets.map(({ expiresAt }) => Math.floor(expiresAt))}::bigint[]
      ) as i (digest, user_id, token_ends_at)`
}

/** Of several who come with one ticket, on whichever instances, the first alone is let in. */
async function takeTickets(sql: Pool, digests: readonly string[]): Promise<(Holder | null)[]> {
  const rows = await sql<{ digest: string; user: string; expiresAt: number; fresh: boolean }[]>`
    with held as (
      -- Who holds its row is using the ticket up; waiting for several such rows, two instances could deadlock.
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
