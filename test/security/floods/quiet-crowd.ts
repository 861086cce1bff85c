import postgres from 'postgres'
import { openSse } from '../../support/clients/sse.ts'
import type { TestStream } from '../../support/clients/stream.ts'
import { openWebSocket } from '../../support/clients/websocket.ts'
import { signToken } from '../../support/token.ts'

const OPENED_AT_ONCE = 25

interface Quiet {
  readonly user: string
  readonly stream: TestStream
}

/** Users who do nothing but listen, half over SSE and half over WebSocket, each with a story that somebody may view. */
export class QuietCrowd {
  readonly #sql: postgres.Sql
  readonly #streams: Quiet[] = []
  #rounds = 0

  constructor(databaseUrl: string) {
    this.#sql = postgres(databaseUrl, { max: 1 })
  }

  async open(url: string, size: number): Promise<void> {
    await this
      .#sql`INSERT INTO glimpse.stories (author_id) SELECT 'quiet-' || i FROM generate_series(0, ${size - 1}::int) i`
    for (let from = 0; from < size; from += OPENED_AT_ONCE) {
      const some = Array.from({ length: Math.min(OPENED_AT_ONCE, size - from) }, (_, i) => from + i)
      this.#streams.push(
        ...(await Promise.all(
          some.map(async (i) => {
            const user = `quiet-${i}`
            const options = { url, token: await signToken(user) }
            return { user, stream: await (i % 2 === 0 ? openSse(options) : openWebSocket(options)) }
          }),
        )),
      )
    }
  }

  /** Somebody views every story of theirs: one event for each. */
  async makeEvents(): Promise<void> {
    this.#rounds += 1
    await this.#sql`
      INSERT INTO glimpse.story_views (story_id, viewer_id)
      SELECT id, ${`viewer-${this.#rounds}`} FROM glimpse.stories WHERE author_id LIKE 'quiet-%'`
  }

  /** Waits for every event made so far. @returns who has not got exactly those, each once and in order */
  async missing(): Promise<string[]> {
    const expected = Array.from({ length: this.#rounds }, (_, i) => i + 1)
    const lists = await Promise.all(
      this.#streams.map(async ({ user, stream }) => {
        const left = this.#rounds - stream.events.length
        if (left > 0) await stream.take(left, 30_000).catch(() => undefined)
        const complete =
          stream.seqs.join() === expected.join() &&
          stream.messages.every(({ json }) => json.type === 'stream.open' || json.type === 'story.viewed')
        return complete ? [] : [`${user} has ${stream.seqs.join()}`]
      }),
    )
    return lists.flat()
  }

  async close(): Promise<void> {
    for (const { stream } of this.#streams) stream.cut()
    await this.#sql.end()
  }
}
