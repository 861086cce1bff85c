import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { signToken } from '../../support/token.ts'
import type { Bench } from '../prover/bench.ts'
import { deliveryP99, measureWrites, quantile, spanOf, within2x } from '../prover/latency.ts'
import { waitsForLocks } from '../prover/plants-load.ts'
import type { Scenario } from '../prover/scenario.ts'
import { SqlWriter } from '../prover/sql-writer.ts'

/** More than an instance keeps lanes for: the lock is the author's, whichever story is viewed. */
const STORIES = 6
/** A blocked write waits 2 s in a lane of its own, perhaps behind another that does. */
const ANSWER_MS = 5000

export const scenario: Scenario = {
  name: 'locked-author',
  promise:
    "a session holds one author's stream row, idle in transaction: 503 or success in 5 s, the others' p99 within 2x",
  quick: false,
  // Plain INSERTs of many authors would wait for the lock with the others' rows in hand: ours leave that author out.
  setup: { rate: { http: 200, sql: 0 } },
  planted: { bug: waitsForLocks, foundIn: 'unkept' },
  async run(bench) {
    const [locked = '', ...others] = bench.authors
    const crowd = bench.crowd.clients.filter(({ author }) => author !== locked)
    const stories = new Map(others.map((author) => [author, bench.stories.get(author) ?? '']))
    const sqlWriter = new SqlWriter(bench.database.url, stories, bench.ledger)
    const held = await insertStories(bench, locked)
    const session = postgres(bench.database.adminUrl, { max: 1, onnotice: () => {} })
    const phaseMs = bench.brief ? 5000 : 20_000
    try {
      sqlWriter.start(50)
      bench.progress('baseline')
      const before = await spanOf(() => sleep(phaseMs))

      bench.progress('locked')
      const psql = await session.reserve()
      await psql`begin`
      await psql`insert into glimpse.story_views (story_id, viewer_id) values (${held[0] ?? ''}, 'psql')`
      const asked: Promise<Answer>[] = []
      const during = await spanOf(async () => {
        const until = performance.now() + phaseMs
        for (let nth = 0; performance.now() < until; nth++) {
          asked.push(view(bench.instance(nth).url, held[nth % held.length] ?? '', `early-${nth}`))
          await sleep(50)
        }
      })
      const answers = await Promise.all(asked)
      const waiting = view(bench.instance(0).url, held[1] ?? '', 'late')
      await psql`commit`
      bench.must((await waiting).status === 200, 'a write that waits when the session lets go succeeds')

      mustAnswerAll(bench, answers)
      const names = new Set(others)
      const [calm, rough] = [
        await measureWrites(bench, before, names),
        await measureWrites(bench, during, names),
      ]
      const delivery = [deliveryP99(bench, before, crowd), deliveryP99(bench, during, crowd)] as const
      bench.note(
        `others' writes p50 ${ms(calm.p50)} → ${ms(rough.p50)}, p99 ${ms(calm.p99)} → ${ms(rough.p99)}, ` +
          `delivery p99 ${ms(delivery[0])} → ${ms(delivery[1])}; the locked author's answers: ` +
          `${answers.filter(({ status }) => status === 503).length} of ${answers.length} 503, p99 ` +
          `${ms(
            quantile(
              answers.map(({ tookMs }) => tookMs),
              0.99,
            ),
          )}`,
      )
      bench.must(rough.refused === 0, `${rough.refused} writes of others were refused`)
      bench.must(
        within2x(rough.p99, calm.p99),
        `others' write p99 went from ${ms(calm.p99)} to ${ms(rough.p99)}`,
      )
      bench.must(
        within2x(delivery[1], delivery[0]),
        `others' delivery p99 went from ${ms(delivery[0])} to ${ms(delivery[1])}`,
      )
    } finally {
      await session.end({ timeout: 0 })
      await sqlWriter.stop()
      await sqlWriter.close()
    }
  },
}

interface Answer {
  readonly status: number
  readonly retryAfter: string | null
  readonly tookMs: number
}

async function insertStories(bench: Bench, author: string): Promise<string[]> {
  const rows = await bench.sql<{ id: string }[]>`
    insert into glimpse.stories (author_id) select ${author} from generate_series(1, ${STORIES}) returning id`
  return rows.map(({ id }) => id)
}

async function view(url: string, story: string, viewer: string): Promise<Answer> {
  const headers = { authorization: `Bearer ${await signToken(viewer)}` }
  const askedAt = performance.now()
  const response = await fetch(new URL(`/stories/${story}/view`, url), { method: 'POST', headers })
  await response.arrayBuffer()
  const tookMs = performance.now() - askedAt
  return { status: response.status, retryAfter: response.headers.get('retry-after'), tookMs }
}

function mustAnswerAll(bench: Bench, answers: readonly Answer[]): void {
  for (const { status, retryAfter, tookMs } of answers) {
    bench.must(
      status === 503 && retryAfter !== null,
      `a write to the locked author answers 503, not ${status}`,
    )
    bench.must(tookMs <= ANSWER_MS, `a write to the locked author is answered in 5 s, not ${ms(tookMs)}`)
  }
}

function ms(milliseconds: number): string {
  return `${Math.round(milliseconds)} ms`
}
