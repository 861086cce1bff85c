import type { Journal, Texts } from './journal.ts'
import type { Operation } from './operations.ts'
import { type Allowed, type LoggedEvent, readJournal } from './reading.ts'

export interface Evidence {
  readonly operations: readonly Operation[]
  readonly journals: readonly Journal[]
  readonly texts: Texts
  /** The history the database is in now, and each author's log in it. */
  readonly epoch: string
  readonly log: ReadonlyMap<string, readonly LoggedEvent[]>
  readonly allowed: Allowed
}

/** What must be zero, unless a scenario allows it. */
export interface Faults {
  /** Committed events that a client of their author never got, and acknowledged operations that are stored nowhere. */
  readonly lost: number
  readonly duplicated: number
  /** Events that came after a later one, or from nowhere: before any stream.open, or of an unannounced history. */
  readonly misordered: number
  /** Events that came later than allowed. */
  readonly late: number
  readonly resets: number
  /** Promises broken beside those the checker looks after: `bench.must`, answers no fault excuses. */
  readonly unkept: number
}

/** The columns of the report. */
export interface Figures extends Faults {
  readonly acked: number
  /** Events over all clients. */
  readonly delivered: number
  /** The longest anybody was without a stream. */
  readonly maxResumeMs: number
  /** The longest from an acknowledgement to the event. */
  readonly maxLagMs: number
}

export interface Verdict {
  readonly figures: Figures
  /** What went wrong, a line each; empty where the promise was kept. */
  readonly violations: readonly string[]
}

/** Holds what the clients were told against what was acknowledged and what the database has. */
export function check(evidence: Evidence): Verdict {
  const { operations, journals, texts, epoch, log, allowed } = evidence
  const violations: string[] = []
  const acked = operations.filter(({ ackedAt }) => ackedAt !== undefined)
  const figures = {
    acked: acked.length,
    delivered: 0,
    lost: 0,
    duplicated: 0,
    misordered: 0,
    late: 0,
    resets: 0,
    unkept: 0,
    maxResumeMs: 0,
    maxLagMs: 0,
  }

  const stored = new Set([...log.values()].flat().map(({ operation }) => operation))
  for (const operation of acked) {
    if (stored.has(operation.number) || allowed.forgotten?.(operation)) continue
    figures.lost++
    violations.push(`op ${operation.number} of ${operation.author} was acknowledged and is not in the log`)
  }
  for (const journal of journals) {
    const reading = readJournal(journal, { operations, epoch, log: log.get(journal.author) ?? [], allowed })
    for (const name of ['delivered', 'lost', 'duplicated', 'misordered', 'late', 'resets'] as const)
      figures[name] += reading[name]
    figures.maxResumeMs = Math.max(figures.maxResumeMs, reading.maxResumeMs)
    figures.maxLagMs = Math.max(figures.maxLagMs, reading.maxLagMs)
    violations.push(...reading.violations.map((violation) => `${journal.client}: ${violation}`))
  }
  violations.push(...texts.differing.map((difference) => `two texts of one event: ${difference}`))
  for (const [author, events] of log) {
    for (const { seq, id = `${epoch}.${seq}`, body } of events) {
      const sent = texts.get(author, id)
      if (sent !== undefined && sent.slice(sent.indexOf(',') + 1) !== body.slice(1))
        violations.push(`${author} got for event ${seq} ${sent}, the log has ${body}`)
    }
  }
  return { figures, violations }
}
