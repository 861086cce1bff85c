import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createPool } from '../../src/postgres/pool.ts'
import { removeExpiredTickets } from '../../src/store/retention.ts'
import { Caller, call, newCallers, type Problem } from '../support/api.ts'
import { closing, STREAMING } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { Rejected, type TestStream } from '../support/clients/stream.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { signToken } from '../support/token.ts'

let here: Instance
let there: Instance
let alice: Caller
let sql: postgres.Sql
beforeAll(async () => {
  here = await startInstance()
  there = await startInstance({ TOKEN_IN_URL: 'off' }, { database: here.database })
  alice = (await newCallers(here.url, 'alice'))[0] as Caller
  sql = postgres(here.database.url, { max: 1 })
})
afterAll(async () => {
  await sql.end()
  await there.close()
  await here.close()
})

interface Ticket {
  readonly ticket: string
  readonly expires_in: number
}

async function newTicket(caller = alice, seconds = 30): Promise<string> {
  const { status, json, headers } = await caller.call<Ticket>('POST', '/tickets')
  expect(status).toBe(201)
  expect(headers.get('cache-control')).toContain('no-store')
  expect(json).toEqual({ ticket: expect.stringMatching(/^[\w-]{43}$/), expires_in: seconds })
  return json.ticket
}

type Streaming = (typeof STREAMING)[number]

function openWith(transport: Streaming, url: string, ticket: string): Promise<TestStream> {
  return closing<TestStream>(
    transport === 'sse' ? openSse({ url, path: `/events?ticket=${ticket}` }) : openWebSocket({ url, ticket }),
  )
}

const page = (url: string, query: string) =>
  call<Problem>(url, `/events?${query}`, { headers: { accept: 'application/json' } })

it('a ticket is good no longer than its token', async () => {
  const token = await signToken('alice', { expiresIn: 8 })
  const { json } = await new Caller(here.url, 'alice', token).call<Ticket>('POST', '/tickets')
  expect(json.expires_in).toBeGreaterThanOrEqual(1)
  expect(json.expires_in).toBeLessThanOrEqual(8)
  const [row] = await sql`
    select extract(epoch from expires_at) * 1000 <= token_ends_at + 500 as ends_in_time from glimpse.tickets
     order by token_ends_at limit 1`
  expect(row).toEqual({ ends_in_time: true })
})

describe.each(STREAMING)('a ticket, over %s', (transport) => {
  it('opens its holder’s stream, on whichever instance, once', async () => {
    const [bob] = (await newCallers(here.url, 'bob')) as [Caller]
    for (const { url } of [here, there]) {
      const ticket = await newTicket()
      const stream = await openWith(transport, url, ticket)
      await bob.view(await alice.post())
      await stream.take(1)
      for (const { url } of [here, there]) {
        const again = await openWith(transport, url, ticket).catch((error: unknown) => error)
        expect(again).toMatchObject({ status: 401 })
      }
    }
  })

  it('lets one of many in who come with it at once, on two instances', async () => {
    const ticket = await newTicket()
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) => openWith(transport, i % 2 === 0 ? here.url : there.url, ticket)),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect((outcome.reason as Rejected).status).toBe(401)
  })

  it('opens a stream that ends with the token behind it', async () => {
    const short = new Caller(here.url, alice.user, await signToken(alice.user, { expiresIn: 2 }))
    const stream = await openWith(transport, there.url, await newTicket(short, 1))
    const { json } = await stream.next('stream.close')
    expect(json.data.reason).toBe('token_expired')
  })
})

describe('a ticket', () => {
  it('is refused like a bad token: unknown, too old, malformed', async () => {
    const late = await newTicket()
    await sql`UPDATE glimpse.tickets SET expires_at = clock_timestamp()`
    const bad = await page(here.url, 'token=bad')
    expect(bad.status).toBe(401)
    for (const ticket of [late, 'a'.repeat(43), 'x', '%00', "'", `${await newTicket()}=`]) {
      const { status, text, headers } = await page(here.url, `ticket=${ticket}`)
      expect([status, text]).toEqual([401, bad.text])
      expect(headers.get('www-authenticate')).toBe(bad.headers.get('www-authenticate'))
    }
    for (const query of ['ticket=', `ticket=${await newTicket()}&ticket=${await newTicket()}`])
      expect((await page(here.url, query)).status).toBe(401)
  })

  it('gives a page of the log too', async () => {
    expect(await page(there.url, `after=0&ticket=${await newTicket()}`)).toMatchObject({
      status: 200,
      json: { reset: null },
    })
  })

  it('counts nowhere but in the URL of a stream', async () => {
    const ticket = await newTicket()
    const story = await alice.post()
    expect((await call(here.url, `/stories/${story}?ticket=${ticket}`)).status).toBe(401)
    expect((await call(here.url, `/stories/${story}`, { token: ticket })).status).toBe(401)
    expect((await call(here.url, `/tickets?ticket=${ticket}`, { method: 'POST' })).status).toBe(401)
    await openWith('sse', here.url, ticket)
  })

  it('is not used up where a header speaks for the caller, and goes before a token in the URL', async () => {
    const ticket = await newTicket()
    const [bob] = (await newCallers(here.url, 'bob')) as [Caller]
    const byHeader = await call(here.url, `/events?ticket=${ticket}`, {
      token: bob.token,
      headers: { accept: 'application/json' },
    })
    expect(byHeader.status).toBe(200)
    const stream = await closing(
      openSse({ url: here.url, path: `/events?token=${bob.token}&ticket=${ticket}` }),
    )
    await bob.view(await alice.post())
    await stream.take(1)
  })

  it('is for those who have a token', async () => {
    const { status, json } = await call<Problem>(here.url, '/tickets', { method: 'POST' })
    expect([status, json.type]).toEqual([401, 'urn:glimpse:problem:unauthorized'])
  })

  it('is nothing that whoever reads the table could use, and does not stay there', async () => {
    const ticket = await newTicket()
    expect(JSON.stringify(await sql`SELECT * FROM glimpse.tickets`)).not.toContain(ticket)
    await sql`UPDATE glimpse.tickets SET expires_at = clock_timestamp()`
    const pool = createPool(here.database.url, 1, 'cleaning')
    onTestFinished(() => pool.end())
    expect(await removeExpiredTickets(pool)).toBeGreaterThan(0)
    expect(await sql`SELECT FROM glimpse.tickets`).toHaveLength(0)
  })

  it('is 503 with Retry-After while Postgres is away', async () => {
    const proxy = await TcpProxy.before(here.database.url)
    const orphan = await startInstance({ DATABASE_URL: proxy.urlFor(here.database.url) }, here)
    onTestFinished(() => orphan.close())
    await proxy.close()
    for (const reply of [
      await call(orphan.url, '/tickets', { method: 'POST', token: alice.token }),
      await page(orphan.url, `ticket=${'a'.repeat(43)}`),
    ]) {
      expect(reply.status).toBe(503)
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    }
  })
})

describe('TOKEN_IN_URL=off', () => {
  it('refuses a token in the URL, even where a cookie would do, and takes headers and tickets', async () => {
    expect((await page(here.url, `token=${alice.token}`)).status).toBe(200)
    const refused = await call<Problem>(there.url, `/events?token=${alice.token}`, {
      headers: { accept: 'application/json', cookie: `glimpse_token=${alice.token}` },
    })
    expect(refused.status).toBe(401)
    expect(refused.json.detail).toContain('POST /tickets')
    const rejected = await closing(openSse({ url: there.url, path: `/events?token=${alice.token}` })).catch(
      (error: unknown) => error,
    )
    expect(rejected).toBeInstanceOf(Rejected)
    await closing(openSse(alice.at(there.url)))
  })
})
