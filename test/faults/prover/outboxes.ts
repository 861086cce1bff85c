import { fileURLToPath } from 'node:url'
import type { Instance } from './instance.ts'

const SAMPLE_MS = 250

/** The environment of instances whose outboxes can be watched. */
export const OUTBOXES_ENVIRONMENT = {
  NODE_OPTIONS: `--import=${fileURLToPath(new URL('outboxes.mjs', import.meta.url))}`,
}

/** What an instance holds for its clients; bytes. */
export interface Outboxes {
  /** In the fullest outbox, and in all of them. */
  readonly most: number
  readonly all: number
  /** How many are past OUTBOX_MAX_BYTES. */
  readonly full: number
  readonly rss: number
}

/** Looks at the instances' outboxes again and again, and remembers the worst of any instance. */
export class OutboxWatch {
  readonly #instances: readonly Instance[]
  readonly #before: readonly Outboxes[]
  readonly #timer: NodeJS.Timeout
  #now: readonly Outboxes[]
  #looking: Promise<void> | undefined
  #failure: unknown
  /** The fullest outbox, all outboxes of an instance, and how much its resident memory has grown; bytes. */
  readonly worst = { most: 0, all: 0, grown: 0 }

  private constructor(instances: readonly Instance[], before: readonly Outboxes[]) {
    this.#instances = instances
    this.#before = before
    this.#now = before
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look()
        .catch((error: unknown) => {
          this.#failure = error
        })
        .finally(() => {
          this.#looking = undefined
        })
    }, SAMPLE_MS)
  }

  static async start(instances: readonly Instance[]): Promise<OutboxWatch> {
    return new OutboxWatch(instances, await inspectAll(instances))
  }

  /** How many outboxes are full now, over all instances. */
  get full(): number {
    return this.#now.reduce((sum, { full }) => sum + full, 0)
  }

  /** @throws what kept it from looking */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#looking
    if (this.#failure !== undefined) throw this.#failure
  }

  async #look(): Promise<void> {
    this.#now = await inspectAll(this.#instances)
    const { worst } = this
    this.#now.forEach(({ most, all, rss }, i) => {
      worst.most = Math.max(worst.most, most)
      worst.all = Math.max(worst.all, all)
      worst.grown = Math.max(worst.grown, rss - (this.#before[i]?.rss ?? rss))
    })
  }
}

function inspectAll(instances: readonly Instance[]): Promise<Outboxes[]> {
  return Promise.all(instances.map((instance) => instance.inspect<Outboxes>()))
}
