import type { Position, StreamHead, StreamPage } from '../../src/event.ts'
import type { ResumeHead } from '../../src/hub/resume.ts'
import type { Log } from '../../src/hub/subscriber.ts'
import { asPossible } from '../../src/store/event-log.ts'
import { bodyOf } from './stream-state.ts'

/** An event in the log, as it was written, or as somebody left it. */
export interface LogRow {
  readonly seq: number
  /** µs since 1970. */
  readonly time: number
  readonly body: string
}

/** One user's stream in memory. Its fields are the columns; tests set them by hand as an operator with psql may. */
export class FakeStream {
  rows: LogRow[] = []
  head = 0
  headTime: number | undefined
  oldest = 1
  trimmedTime: number | undefined
  read = 0
  /** Numbers whose rows a page has twice, as a damaged index gives them. */
  readonly repeated = new Set<number>()
  readonly #user: string

  constructor(user = 'alice') {
    this.#user = user
  }

  /** Logs the next events at one time, as one call of glimpse.log_events() does. @returns where the stream stood before */
  append(count: number, time: number): Position {
    const before = { seq: this.head, time: this.head === 0 ? 0 : this.headTime }
    for (let n = 0; n < count; n++) {
      const seq = ++this.head
      this.rows.push({ seq, time, body: bodyOf(seq, { user: this.#user, time }) })
    }
    this.headTime = time
    return before
  }

  /** Removes the events before the number `oldest`, as retention does. */
  trim(oldest: number): void {
    this.trimmedTime = this.rows.find(({ seq }) => seq === oldest - 1)?.time ?? this.trimmedTime
    this.rows = this.rows.filter(({ seq }) => seq >= oldest)
    this.oldest = oldest
  }

  row(seq: number): LogRow | undefined {
    return this.rows.find((row) => row.seq === seq)
  }

  state(epoch: string): StreamHead {
    const { head, headTime, oldest, trimmedTime, read } = this
    return asPossible({ epoch, head, headTime, oldest, trimmedTime, read, readTime: this.row(read)?.time })
  }

  /** As src/store/event-log.ts reads it: rows from the number `after` on, whatever they are. */
  page(epoch: string, after: number, limit: number): StreamPage {
    const from = this.rows.filter(({ seq }) => seq >= after).sort((a, b) => a.seq - b.seq)
    const behind = from.filter(({ seq }) => seq > after)
    // The one at `after` counts, so that a page has one more than was asked for where that one is missing.
    const within = from.slice(0, limit + 1)
    const kept = within.flatMap((row) => (this.repeated.has(row.seq) ? [row, row] : [row]))
    return {
      ...this.state(epoch),
      seqs: kept.map(({ seq }) => seq),
      times: kept.map(({ time }) => time),
      bodies: kept.map(({ seq, body }) => (seq === after ? '' : body)),
      complete: kept.at(-1)?.seq === behind.at(-1)?.seq || behind.length === 0,
    }
  }
}

/** A log in memory. */
export class FakeLog implements Log {
  epoch = 'e1'
  readonly pageEvents: number
  readonly #streams = new Map<string, FakeStream>()

  constructor(pageEvents = 200) {
    this.pageEvents = pageEvents
  }

  stream(user: string): FakeStream {
    const stream = this.#streams.get(user) ?? new FakeStream(user)
    this.#streams.set(user, stream)
    return stream
  }

  async head(user: string, seq = -1): Promise<ResumeHead> {
    const stream = this.stream(user)
    const isKept = seq >= stream.oldest && seq < stream.head
    return { ...stream.state(this.epoch), askedTime: isKept ? stream.row(seq)?.time : undefined }
  }

  async heads(users: readonly string[]): Promise<StreamHead[]> {
    return users.map((user) => this.stream(user).state(this.epoch))
  }

  async page(user: string, after: number, limit = this.pageEvents): Promise<StreamPage> {
    return this.stream(user).page(this.epoch, after, limit)
  }
}
