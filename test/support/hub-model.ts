import { setImmediate as turn } from 'node:timers/promises'
import {
  type ControlMessage,
  type EventRun,
  parseResumePoint,
  type StreamHead,
  type StreamPage,
} from '../../src/event.ts'
import { Hub, type HubOptions } from '../../src/hub/hub.ts'
import type { ResumeHead } from '../../src/hub/resume.ts'
import type { Codec, Sink } from '../../src/hub/sink.ts'
import type { Log } from '../../src/hub/subscriber.ts'
import { createLogger } from '../../src/observability/log.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { partsOf } from './cursor.ts'
import type { FakeLog } from './fake-log.ts'

/** A log whose answers can be held back. What is answered was read when it was asked, or when it is released. */
class HeldLog implements Log {
  readonly #log: FakeLog
  /** Names of the reads that are held from now on. */
  holds: ReadonlySet<'head' | 'heads' | 'page'> = new Set()
  readonly held: { readonly what: string; release(fresh: boolean): void; fail(): void }[] = []
  readonly asked = { head: 0, heads: 0, page: 0 }

  constructor(log: FakeLog) {
    this.#log = log
  }

  head(user: string, seq: number): Promise<ResumeHead> {
    return this.#answer('head', () => this.#log.head(user, seq))
  }

  heads(users: readonly string[]): Promise<StreamHead[]> {
    return this.#answer('heads', () => this.#log.heads(users))
  }

  page(user: string, after: number): Promise<StreamPage> {
    return this.#answer('page', () => this.#log.page(user, after))
  }

  #answer<Answer>(what: 'head' | 'heads' | 'page', read: () => Promise<Answer>): Promise<Answer> {
    this.asked[what]++
    const early = read()
    if (!this.holds.has(what)) return early
    return new Promise((resolve, reject) => {
      const settle = (how: () => void) => {
        this.held.splice(this.held.indexOf(entry), 1)
        how()
      }
      const entry = {
        what,
        release: (fresh: boolean) => settle(() => resolve(fresh ? read() : early)),
        fail: () => settle(() => reject(new Error('the log cannot be read'))),
      }
      this.held.push(entry)
    })
  }
}

const codec: Codec = {
  encode: (ids, bodies) =>
    JSON.stringify(bodies.map((body, i) => ({ seq: JSON.parse(body).seq, id: ids[i], body }))),
}

interface Frame {
  readonly seq: number
  readonly id: string
  readonly body: string
}

/** The far end of a connection. It checks each thing it is told, as a client would. */
export class Witness implements Sink {
  readonly transport = 'sse'
  readonly codec = codec
  readonly user: string
  unsent = 0
  sent = 0
  /** What it was told, in order: numbers of events, reasons of resets, `read <seq>`, `closed <reason>`. */
  readonly told: (number | string)[] = []
  readonly frames: Frame[] = []
  closed = false
  cursor = ''
  read = -1
  readonly #check: (witness: Witness, frame: Frame, before: Frame | undefined) => void
  #before: Frame | undefined

  constructor(user: string, check: (witness: Witness, frame: Frame, before: Frame | undefined) => void) {
    this.user = user
    this.#check = check
  }

  get seq(): number {
    return partsOf(this.cursor).seq
  }

  /** Without the read marks, which follow each reset. */
  get steps(): (number | string)[] {
    return this.told.filter((word) => !String(word).startsWith('read'))
  }

  write(frames: string): void {
    for (const frame of JSON.parse(frames) as Frame[]) {
      if (this.closed) throw new Error('told after its end')
      if (frame.seq !== this.seq + 1) throw new Error(`${this.user} at ${this.cursor} was given ${frame.id}`)
      if (partsOf(frame.id).seq !== frame.seq)
        throw new Error(`${this.user} was given another event under a number: ${JSON.stringify(frame)}`)
      this.#check(this, frame, this.#before)
      this.#before = frame
      this.cursor = frame.id
      this.told.push(frame.seq)
      this.frames.push(frame)
    }
  }

  control(message: ControlMessage): void {
    switch (message.type) {
      case 'stream.open':
        this.cursor = message.data.cursor
        this.read = partsOf(message.data.read).seq
        break
      case 'stream.reset':
        this.cursor = message.data.cursor
        this.#before = undefined
        this.told.push(message.data.reason)
        break
      case 'stream.read':
        this.read = partsOf(message.data.cursor).seq
        this.told.push(`read ${this.read}`)
        break
    }
  }

  heartbeat(): boolean {
    return true
  }

  close(reason: string): void {
    this.closed = true
    this.told.push(`closed ${reason}`)
  }

  destroy(): void {
    this.closed = true
  }
}

/** The real hub over a log, clock and sockets of ours. Nothing sweeps but who asks for it. */
export class HubModel {
  now = 0
  readonly log: FakeLog
  readonly reads: HeldLog
  readonly hub: Hub
  /** What an operator is warned of. */
  readonly warnings: string[] = []
  readonly #check: ConstructorParameters<typeof Witness>[1]

  constructor(
    log: FakeLog,
    check: ConstructorParameters<typeof Witness>[1] = () => {},
    interest?: HubOptions['interest'],
  ) {
    this.log = log
    this.reads = new HeldLog(log)
    this.#check = check
    const logger = createLogger('silent')
    logger.warn = (...said: unknown[]) => void this.warnings.push(String(said.at(-1)))
    this.hub = new Hub({
      eventLog: this.reads,
      limits: {
        outboxMaxBytes: 1000,
        heartbeatIntervalMs: 60_000,
        stallTimeoutMs: 60_000,
        maxConnections: 1000,
        maxConnectionsPerUser: 100,
        maxConnectionsPerAddress: 1000,
      },
      clock: { wall: () => this.now, monotonic: () => this.now },
      ...(interest === undefined ? {} : { interest }),
      log: logger,
      metrics: createMetrics(),
    })
  }

  /** Connects; the stream begins as soon as its head has been read. */
  connect(user: string, cursor = ''): Connected {
    const witness = new Witness(user, this.#check)
    const connected: Connected = {
      witness,
      leave: () => {},
      drained: () => {},
      begun: Promise.resolve(),
      isOpen: false,
    }
    connected.begun = this.hub
      .enter(user, parseResumePoint(cursor), Number.MAX_SAFE_INTEGER, '192.0.2.1', (leave) => {
        connected.leave = () => {
          witness.closed = true
          connected.isOpen = false
          leave()
        }
      })
      .then((place) => {
        if (witness.closed) return
        connected.isOpen = true
        connected.drained = () => place.drained()
        place.begin(witness)
      })
    return connected
  }

  /** Logs events as one statement does. @returns what a bus would tell of them */
  write(user: string, count = 1): EventRun {
    const stream = this.log.stream(user)
    const before = stream.append(count, ++this.now)
    const rows = stream.rows.slice(-count)
    return {
      first: before.seq + 1,
      previous: before.time,
      times: rows.map(({ time }) => time),
      bodies: rows.map(({ body }) => body),
    }
  }

  push(user: string, run: EventRun, epoch = this.log.epoch): void {
    this.hub.subscriber(user)?.push(epoch, run)
  }

  announce(user: string, head: number, epoch = this.log.epoch): void {
    this.hub.subscriber(user)?.announce(epoch, head)
  }

  /** Lets everything that can go on do so. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < 5; turns++) await turn()
  }
}

export interface Connected {
  readonly witness: Witness
  leave: () => void
  drained: () => void
  begun: Promise<void>
  isOpen: boolean
}
