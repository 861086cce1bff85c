import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'
import type { TcpProxy } from '../../support/tcp-proxy.ts'
import { check, type Verdict } from './checker.ts'
import { Crowd, until } from './crowd.ts'
import { HttpWriter } from './http-writer.ts'
import type { Instance } from './instance.ts'
import { Ledger, operationNumber } from './operations.ts'
import type { Database, PostgresServer } from './postgres-server.ts'
import type { LoggedEvent } from './reading.ts'
import { type Setup, type Staging, setupOf } from './setup.ts'
import { SqlWriter } from './sql-writer.ts'
import { openStage, type Stage } from './stage.ts'

export interface BenchOptions {
  readonly scenario: Staging
  /** The quick half: a smaller crowd, and fewer repetitions. */
  readonly quick: boolean
  /** Whether the build has a bug in it; repetitions are then those of the quick half. */
  readonly planted: boolean
  /** The service's `dist/main.js`. */
  readonly main: string
  readonly postgres: PostgresServer
  readonly progress: (text: string) => void
}

const CONNECT_TIMEOUT_MS = 30_000
/** More than a sweep's interval: what has not come by then never will, and planted bugs make everybody wait for that. */
const PLANTED_SETTLE_MS = 5000

/** What a scenario works with: a database, instances, clients and writers, all running by the time it begins. */
export class Bench {
  /** Few repetitions and short phases, as in the quick half; with a planted bug, which shows soon, too. */
  readonly brief: boolean
  readonly setup: Setup
  readonly postgres: PostgresServer
  /** The build's `dist/main.js`, for instances beside those of the bench. */
  readonly main: string
  readonly database: Database
  /** A superuser in the scenario's database, for looking and for causing faults. */
  readonly sql: postgres.Sql
  readonly listenProxy: TcpProxy | undefined
  readonly instances: readonly Instance[]
  /** Each with one story. */
  readonly authors: readonly string[]
  readonly stories: ReadonlyMap<string, string>
  readonly ledger: Ledger
  readonly http: HttpWriter
  readonly sqlWriter: SqlWriter
  readonly crowd: Crowd
  readonly progress: (text: string) => void
  readonly #scenario: Staging
  readonly #planted: boolean
  readonly #stage: Stage
  readonly #violations: string[] = []
  readonly #notes: string[] = []
  readonly #times = new Map<string, number[]>()

  private constructor(options: BenchOptions, setup: Setup, stage: Stage) {
    this.brief = options.quick || options.planted
    this.setup = setup
    this.postgres = options.postgres
    this.main = options.main
    this.progress = options.progress
    this.#planted = options.planted
    this.#scenario = options.scenario
    this.#stage = stage
    this.database = stage.database
    this.sql = stage.sql
    this.listenProxy = stage.listenProxy
    this.instances = stage.instances
    this.stories = stage.stories
    this.authors = [...stage.stories.keys()]
    const urls = () => this.instances.map(({ url }) => url)
    this.ledger = new Ledger()
    this.http = new HttpWriter(urls, this.stories, this.ledger)
    this.sqlWriter = new SqlWriter(this.database.url, this.stories, this.ledger)
    this.crowd = new Crowd(urls)
  }

  /** Sets everything up, with all clients live and the load running. */
  static async open(options: BenchOptions): Promise<Bench> {
    const { scenario, main, postgres: server } = options
    const setup = setupOf(scenario, options.quick)
    const bench = new Bench(options, setup, await openStage({ scenario, setup, main, server }))
    try {
      for (const transport of ['sse', 'ws', 'poll'] as const)
        await bench.crowd.add(transport, setup.clients[transport], bench.authors)
      if (!(await bench.crowd.untilLive(CONNECT_TIMEOUT_MS)))
        throw new Error(`only ${bench.crowd.live} of ${bench.crowd.clients.length} clients could connect`)
      bench.startWriting()
      await sleep(500)
      return bench
    } catch (error) {
      await bench.close()
      throw error
    }
  }

  /** Instances that ended without being asked to. */
  get deaths(): readonly string[] {
    return this.instances.flatMap(({ deaths }) => deaths)
  }

  /** Something a scenario promises beside what the checker proves. */
  must(kept: boolean, promise: string): void {
    if (!kept) this.#violations.push(promise)
  }

  /** A figure worth reading in a run that went well too. */
  note(line: string): void {
    this.#notes.push(line)
  }

  /** Something that must come true in a time; the report has the longest that it took. */
  async within(
    limitMs: number,
    what: string,
    comesTrue: (limitMs: number) => Promise<boolean>,
  ): Promise<void> {
    const startedAt = performance.now()
    const kept = await comesTrue(limitMs)
    this.took(what, performance.now() - startedAt)
    this.must(kept, `${what} within ${limitMs} ms`)
  }

  /** How long something took this time. */
  took(what: string, milliseconds: number): void {
    this.#times.set(what, [...(this.#times.get(what) ?? []), milliseconds])
  }

  /** Figures of the scenario's own, for the report. */
  get notes(): readonly string[] {
    const times = [...this.#times].map(([what, all]) => {
      const longest = Math.round(Math.max(...all)).toLocaleString('en-US')
      return all.length === 1
        ? `${what}: ${longest} ms`
        : `${what}: at most ${longest} ms, ${all.length} times`
    })
    return [...this.#notes, ...times]
  }

  /** Runs `step` so many times: the first number in a full run, the second in a brief one. */
  async repeat(full: number, brief: number, step: (nth: number) => Promise<void>): Promise<void> {
    const times = this.brief ? brief : full
    for (let nth = 0; nth < times; nth++) {
      this.progress(`${nth + 1} of ${times}`)
      await step(nth)
    }
  }

  startWriting(): void {
    this.http.start(this.setup.rate.http)
    this.sqlWriter.start(this.setup.rate.sql)
  }

  async stopWriting(): Promise<void> {
    await Promise.all([this.http.stop(), this.sqlWriter.stop()])
  }

  /** The instance after the nth, all round. */
  instance(nth: number): Instance {
    const instance = this.instances[nth % this.instances.length]
    if (instance === undefined) throw new Error('no instances')
    return instance
  }

  /**
   * To be called after Postgres ended with an error of its own: the driver of `sql` keeps that of a connection that died
   * without having got ready again, and rejects the first statement of the next one with it.
   */
  async clearErrors(): Promise<void> {
    await Promise.all([1, 2].map(() => this.sql`select pg_sleep(0.1)`.catch(() => {})))
  }

  /** Waits until `/readyz` of every instance says yes. Whether all did in time. */
  untilReady(timeoutMs: number): Promise<boolean> {
    return until(timeoutMs, async () => {
      const ready = await Promise.all(this.instances.map((instance) => instance.ready()))
      return !ready.includes(false)
    })
  }

  /** Waits until every client has all that is committed now. Whether all had in time. */
  async untilCaughtUp(timeoutMs: number): Promise<boolean> {
    const { epoch, heads } = await this.readHeads()
    return this.crowd.untilReached(epoch, heads, timeoutMs)
  }

  async readHeads(): Promise<{ epoch: string; heads: ReadonlyMap<string, number> }> {
    const [now] = await this.sql<{ epoch: string }[]>`select glimpse.epoch() as epoch`
    const rows = await this.sql<{ user_id: string; head: number }[]>`
      select user_id, head::float8 as head from glimpse.streams`
    return { epoch: now?.epoch ?? '', heads: new Map(rows.map(({ user_id, head }) => [user_id, head])) }
  }

  /** Stops the writers, lets the clients settle, and holds what they got against what was written. */
  async verify(): Promise<Verdict> {
    this.progress('settling')
    await this.stopWriting()
    const settleMs = this.#planted ? PLANTED_SETTLE_MS : this.setup.settleMs
    const settled = await this.untilCaughtUp(settleMs)
    // What comes twice comes a little later.
    await sleep(200)
    const { epoch } = await this.readHeads()
    const { figures, violations } = check({
      operations: this.ledger.operations,
      journals: this.crowd.clients,
      texts: this.crowd.texts,
      epoch,
      log: await readLog(this.sql),
      allowed: this.#scenario.allowed ?? {},
    })
    const unkept = [...this.deaths, ...this.#violations, ...this.http.violations]
    if (!settled) unkept.push(`not everybody had everything after ${settleMs} ms`)
    return { figures: { ...figures, unkept: unkept.length }, violations: [...unkept, ...violations] }
  }

  async close(): Promise<void> {
    this.crowd.stop()
    await this.stopWriting()
    this.http.close()
    await this.sqlWriter.close()
    await this.#stage.close()
  }
}

async function readLog(sql: postgres.Sql): Promise<Map<string, LoggedEvent[]>> {
  const rows = await sql<{ user_id: string; seq: number; body: string; id: string }[]>`
    select user_id, seq::float8 as seq, body,
           concat_ws('.', (select glimpse.epoch()), seq, to_hex(glimpse.cursor_check(user_id, glimpse.microseconds(logged_at)))) as id
      from glimpse.events order by user_id, seq`
  const log = new Map<string, LoggedEvent[]>()
  for (const { user_id, seq, body, id } of rows) {
    const events = log.get(user_id) ?? []
    if (events.length === 0) log.set(user_id, events)
    events.push({ seq, id, body, operation: operationNumber(JSON.parse(body).data) })
  }
  return log
}
