import type { Entry, Journal } from './journal.ts'
import type { Operation } from './operations.ts'

type Of<Type extends Entry['type']> = Extract<Entry, { type: Type }>

/** What the database says was committed. */
export interface LoggedEvent {
  readonly seq: number
  /** Its cursor; where it is missing, `<epoch>.<seq>` has to do. */
  readonly id?: string
  readonly body: string
  readonly operation: number | undefined
}

/** What a scenario may do to its clients; everything not named here is a violation. */
export interface Allowed {
  /** Whether `stream.reset` is a legitimate answer to the fault. */
  readonly resets?: boolean
  /** An event may come this long after its write was acknowledged. */
  readonly lagMs?: number
  /** Operations that the fault takes from the database itself, such as those a failover leaves behind. */
  readonly forgotten?: (operation: Operation) => boolean
}

interface Truth {
  readonly operations: readonly Operation[]
  readonly epoch: string
  /** The client's author's events, in order. */
  readonly log: readonly LoggedEvent[]
  readonly allowed: Allowed
}

export interface Reading {
  readonly delivered: number
  readonly lost: number
  readonly duplicated: number
  readonly misordered: number
  readonly late: number
  readonly resets: number
  readonly maxResumeMs: number
  readonly maxLagMs: number
  readonly violations: readonly string[]
}

/** Reads what one client was told. From its first place on the numbers must be dense and in order, but for a reset. */
export function readJournal(journal: Journal, truth: Truth): Reading {
  const reader = new Reader(journal, truth)
  for (const entry of journal.entries) reader.take(entry)
  return reader.finish()
}

class Reader {
  readonly #journal: Journal
  readonly #truth: Truth
  readonly #violations: string[] = []
  /** What was seen and what was passed over, in the history of `#place`. */
  #seen = new Set<number>()
  #missing = new Set<number>()
  #place: { epoch: string; seq: number } | undefined
  #endedAt: number | undefined
  #delivered = 0
  #lost = 0
  #duplicated = 0
  #misordered = 0
  #late = 0
  #resets = 0
  #maxResumeMs = 0
  #maxLagMs = 0

  constructor(journal: Journal, truth: Truth) {
    this.#journal = journal
    this.#truth = truth
  }

  take(entry: Entry): void {
    if (entry.type === 'event') this.#event(entry)
    else if (entry.type === 'reset') this.#reset(entry)
    else if (entry.type === 'open') this.#open(entry)
    else this.#endedAt = entry.at
  }

  finish(): Reading {
    this.#settleMissing()
    if (!this.#journal.live) this.#violations.push('is not connected at the end')
    else this.#missTail()
    return {
      delivered: this.#delivered,
      lost: this.#lost,
      duplicated: this.#duplicated,
      misordered: this.#misordered,
      late: this.#late,
      resets: this.#resets,
      maxResumeMs: this.#maxResumeMs,
      maxLagMs: this.#maxLagMs,
      violations: this.#violations,
    }
  }

  #open({ at, epoch, seq }: Of<'open'>): void {
    if (this.#endedAt !== undefined) this.#maxResumeMs = Math.max(this.#maxResumeMs, at - this.#endedAt)
    this.#endedAt = undefined
    // A later one says where the server thinks the client is; only a reset may move it.
    this.#place ??= { epoch, seq }
  }

  #event(event: Of<'event'>): void {
    const { epoch, seq } = event
    const place = this.#place
    if (place === undefined || epoch !== place.epoch) {
      this.#misordered++
      this.#violations.push(`got ${epoch}.${seq} from nowhere, being at ${place?.epoch}.${place?.seq}`)
      return
    }
    if (this.#seen.has(seq)) {
      this.#duplicated++
      this.#violations.push(`got event ${seq} twice`)
      return
    }
    this.#seen.add(seq)
    this.#delivered++
    if (seq <= place.seq) {
      this.#missing.delete(seq)
      this.#misordered++
      this.#violations.push(`got event ${seq} after ${place.seq}`)
      return
    }
    for (let passed = place.seq + 1; passed < seq; passed++) this.#missing.add(passed)
    place.seq = seq
    this.#compare(event)
  }

  /** Is it the author's own, and did it come in time? */
  #compare({ operation: number, at, seq }: Of<'event'>): void {
    if (number === undefined) return
    const operation = this.#truth.operations[number]
    if (operation === undefined) this.#violations.push(`got event ${seq} of op ${number}, which nobody wrote`)
    else if (operation.author !== this.#journal.author)
      this.#violations.push(`got event ${seq}, which belongs to ${operation.author}`)
    if (operation?.ackedAt === undefined) return
    const lagMs = at - operation.ackedAt
    this.#maxLagMs = Math.max(this.#maxLagMs, lagMs)
    const { lagMs: limit } = this.#truth.allowed
    if (limit === undefined || lagMs <= limit) return
    this.#late++
    this.#violations.push(`got event ${seq} ${Math.round(lagMs)} ms after its acknowledgement`)
  }

  #reset({ epoch, seq, reason }: Of<'reset'>): void {
    this.#resets++
    if (!this.#truth.allowed.resets) this.#violations.push(`was reset (${reason}) to ${epoch}.${seq}`)
    this.#settleMissing()
    // In another history, or beyond an end that the history has gone back behind, the same number is another event.
    if (epoch !== this.#place?.epoch) this.#seen = new Set()
    for (const known of this.#seen) if (known > seq) this.#seen.delete(known)
    this.#place = { epoch, seq }
  }

  #settleMissing(): void {
    this.#lost += this.#missing.size
    for (const seq of this.#missing) this.#violations.push(`never got event ${seq}, but later ones`)
    this.#missing = new Set()
  }

  /** Events the log has after the client's last one. */
  #missTail(): void {
    const { log, epoch } = this.#truth
    const head = log.at(-1)?.seq ?? 0
    const place = this.#place
    if (place === undefined) this.#violations.push('was never told where it stands')
    else if (place.epoch !== epoch) this.#violations.push(`is still in history ${place.epoch}, now ${epoch}`)
    else if (head > place.seq) {
      this.#lost += head - place.seq
      this.#violations.push(`never got the last events, ${place.seq + 1} to ${head}`)
    }
  }
}
