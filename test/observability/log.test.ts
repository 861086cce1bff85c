import { Client } from 'pg'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLogger, instanceOf } from '../../src/observability/log.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'

/** As much of `pg` as is needed here; the project has types for no more than it uses. */
const PgClient = Client as unknown as new (
  url: string,
) => { connect(): Promise<void>; query(text: string): Promise<unknown>; end(): Promise<void> }

/** A logger whose lines are kept. */
function recorded(level = 'trace') {
  const texts: string[] = []
  const log = createLogger(level, { write: (line) => void texts.push(line) })
  return { log, texts, lines: () => texts.map((text) => JSON.parse(text)) }
}

describe('each line', () => {
  it('has the instance that wrote it', () => {
    const [one, other] = [recorded(), recorded()]
    one.log.info('listening')
    one.log.error({ err: new Error('no') }, 'a request failed unexpectedly')
    for (const line of one.lines()) expect(line.instance).toBe(instanceOf(one.log))
    expect(instanceOf(one.log)).toMatch(/^[0-9a-f]{12}$/)
    expect(instanceOf(other.log)).not.toBe(instanceOf(one.log))
    expect(instanceOf(createLogger('silent'))).toMatch(/^[0-9a-f]{12}$/)
  })
})

describe('an error of Postgres', () => {
  const PERSONAL = 'alice-who-is-nobodys-business'
  let database: TestDatabase
  let sql: postgres.Sql
  beforeAll(async () => {
    database = await createDatabase()
    sql = postgres(database.url, { max: 1, onnotice: () => {} })
    await sql`create table accounts (name text primary key check (name <> 'nobody'), note text)`
    await sql`insert into accounts values (${PERSONAL}, ${PERSONAL})`
  })
  afterAll(async () => {
    await sql.end()
    await database.drop()
  })

  /** Statements that fail, and that Postgres or the driver answer with what was in them. */
  const FAILING: Record<string, [text: string, code: string, message: RegExp]> = {
    'of a key that is there already': [
      `insert into accounts values ('${PERSONAL}')`,
      '23505',
      /unique constraint "accounts_pkey"/,
    ],
    'of a row that a rule forbids': [
      `update accounts set name = 'nobody' where name = '${PERSONAL}'`,
      '23514',
      /check constraint "accounts_name_check"/,
    ],
    'of a value that cannot be read': [
      `select '${PERSONAL}'::uuid`,
      '22P02',
      /invalid input syntax for type uuid: …/,
    ],
    'of a value with quotation marks': [
      `select 'say "${PERSONAL}" and "${PERSONAL}'::uuid`,
      '22P02',
      /^invalid input syntax for type uuid: …$/,
    ],
    'of a value that glimpse.append refuses': [
      `select glimpse.append(('${PERSONAL}', 'Not A Type', '{}', now())::glimpse.new_event)`,
      '22023',
      /^glimpse\.append: type …: the type must be/,
    ],
    'that a function raises': [
      `do $$ begin raise exception 'no account %', quote_literal('${PERSONAL}'); end $$`,
      'P0001',
      /no account …/,
    ],
  }

  async function failure(driver: string, text: string): Promise<unknown> {
    if (driver === 'postgres') return sql.unsafe(text).catch((error) => error)
    const client = new PgClient(database.url)
    await client.connect()
    const error = await client.query(text).catch((reason) => reason)
    await client.end()
    return error
  }

  describe.each(['postgres', 'pg'])('from the driver %s', (driver) => {
    it.each(
      Object.entries(FAILING),
    )('%s says what is wrong, and nothing of the row', async (_what, failing) => {
      const [text, code, message] = failing
      const error = await failure(driver, text)
      // Otherwise there would be nothing to leave out.
      expect(JSON.stringify({ ...(error as object), message: String(error) })).toContain(PERSONAL)
      const { log, texts, lines } = recorded()
      log.error({ err: error }, 'a request failed unexpectedly')
      log.debug({ err: new Error('wrapped', { cause: error }) }, 'a request was refused')
      for (const line of texts) expect(line).not.toContain(PERSONAL)
      const [line, wrapped] = lines()
      for (const { code: told, message: words, stack } of [line.err, wrapped.err.cause]) {
        expect(told).toBe(code)
        expect(words).toMatch(message)
        expect(stack).toMatch(/\n\s+at /)
      }
    })
  })
})

describe('the same fault', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const fail = (log: ReturnType<typeof createLogger>, code: string, route = '/stories') =>
    log.error({ route, err: Object.assign(new Error('no'), { code }) }, 'a request failed unexpectedly')

  it('is logged at most ten times a second, with a count of the rest', () => {
    const { log, lines } = recorded()
    for (let i = 0; i < 25; i++) fail(log, '42P01')
    expect(lines()).toHaveLength(10)
    vi.advanceTimersByTime(1000)
    expect(lines()).toHaveLength(11)
    expect(lines().at(-1)).toMatchObject({
      level: 'error',
      msg: 'a request failed unexpectedly',
      repeated: 15,
    })
    for (let i = 0; i < 10; i++) fail(log, '42P01')
    vi.advanceTimersByTime(5000)
    expect(lines()).toHaveLength(21)
  })

  it('hides no other fault, nor the same one elsewhere', () => {
    const { log, lines } = recorded()
    for (let i = 0; i < 25; i++) {
      fail(log, '42P01')
      fail(log, '42501')
      fail(log, '42P01', '/events')
      log.warn('the database continues in another history')
    }
    expect(lines()).toHaveLength(40)
  })

  it('is said in full where somebody debugs', () => {
    const { log, lines } = recorded()
    for (let i = 0; i < 25; i++) log.debug('a request was refused')
    expect(lines()).toHaveLength(25)
  })

  it('of too many kinds shares one count, so that the kinds cannot fill the memory', () => {
    const { log, lines } = recorded()
    for (let i = 0; i < 5000; i++) fail(log, `E${i}`)
    expect(lines().length).toBeLessThanOrEqual(210)
    vi.advanceTimersByTime(1000)
    expect(lines().at(-1).repeated).toBeGreaterThan(4700)
  })
})

it('an error of many addresses says what each of them said', () => {
  const { log, lines } = recorded()
  const error = new AggregateError([
    new Error('connect ECONNREFUSED ::1:5432'),
    new Error('connect ECONNREFUSED'),
  ])
  log.warn({ err: error }, 'cannot LISTEN on the database; retrying')
  expect(lines()[0].err.message).toBe('connect ECONNREFUSED ::1:5432; connect ECONNREFUSED')
})
