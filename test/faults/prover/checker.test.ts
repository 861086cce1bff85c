import { describe, expect, it } from 'vitest'
import { check } from './checker.ts'
import { type Entry, type Journal, Texts } from './journal.ts'
import type { Operation } from './operations.ts'
import type { Allowed, LoggedEvent } from './reading.ts'

const EPOCH = 'e'

function logged(...seqs: number[]): LoggedEvent[] {
  return seqs.map((seq) => ({ seq, body: `{"seq":${seq}}`, operation: seq }))
}

/** Operation n is acknowledged at n seconds; its event has the number n. */
function operations(count: number, author = 'ann'): Operation[] {
  return Array.from({ length: count + 1 }, (_, number) => ({
    number,
    author,
    sentAt: 0,
    ackedAt: number === 0 ? undefined : number * 1000,
  }))
}

const open = (seq: number, at = 0, epoch = EPOCH): Entry => ({ type: 'open', at, epoch, seq })
const event = (seq: number, at = seq * 1000, epoch = EPOCH): Entry => ({
  type: 'event',
  at,
  epoch,
  seq,
  operation: seq,
})
const events = (...seqs: number[]): Entry[] => seqs.map((seq) => event(seq))
const end = (at: number): Entry => ({ type: 'end', at, why: 'cut' })
const reset = (seq: number, epoch = EPOCH): Entry => ({ type: 'reset', at: 0, reason: 'trimmed', epoch, seq })

function journal(...entries: (Entry | Entry[])[]): Journal {
  return { client: 'c', author: 'ann', entries: entries.flat(), live: true }
}

function verdict(
  told: Journal,
  { log = logged(1, 2, 3), allowed = {}, texts = new Texts(), ops = operations(log.length) } = {} as {
    log?: LoggedEvent[]
    allowed?: Allowed
    texts?: Texts
    ops?: Operation[]
  },
) {
  return check({
    operations: ops,
    journals: [told],
    texts,
    epoch: EPOCH,
    log: new Map([['ann', log]]),
    allowed,
  })
}

/** The figures that are not zero, beside those that count what went well. */
function faults(...args: Parameters<typeof verdict>): Record<string, number> {
  const { acked, delivered, maxLagMs, maxResumeMs, ...rest } = verdict(...args).figures
  return Object.fromEntries(Object.entries(rest).filter(([, count]) => count !== 0))
}

describe('a client', () => {
  it('that was told everything in order has nothing to complain of', () => {
    const { figures, violations } = verdict(
      journal(open(0), events(1, 2), end(2500), open(2, 2900), events(3)),
    )
    expect(violations).toEqual([])
    expect(figures).toMatchObject({ acked: 3, delivered: 3, lost: 0, maxResumeMs: 400 })
  })

  it('is owed nothing from before its first place', () => {
    expect(verdict(journal(open(2), events(3))).violations).toEqual([])
  })

  it('that was passed over has lost what it never got', () => {
    expect(faults(journal(open(0), events(1, 3)))).toEqual({ lost: 1 })
  })

  it('that was passed over between two connections has lost it, wherever the server says it stands', () => {
    expect(faults(journal(open(0), events(1), end(1), open(2), events(3)))).toEqual({ lost: 1 })
  })

  it('that never got the last events has lost them', () => {
    expect(faults(journal(open(0), events(1)))).toEqual({ lost: 2 })
  })

  it('that got an event twice got a duplicate', () => {
    expect(faults(journal(open(0), events(1, 2, 2, 3)))).toEqual({ duplicated: 1 })
    expect(faults(journal(open(0), events(1, 2, 1, 3)))).toEqual({ duplicated: 1 })
  })

  it('that got an event after a later one got them out of order, and lost none', () => {
    expect(faults(journal(open(0), events(1, 3, 2)))).toEqual({ misordered: 1 })
  })

  it('that got an event before it was told where it stands got it from nowhere', () => {
    expect(faults(journal(events(1), open(1), events(2, 3)))).toEqual({ misordered: 1 })
  })

  it('that got an event of another history without a reset got it from nowhere', () => {
    expect(faults(journal(open(0), events(1, 2, 3), event(4, 0, 'other')))).toEqual({ misordered: 1 })
  })

  it('that is gone at the end is a violation', () => {
    const gone = { ...journal(open(0), events(1, 2, 3)), live: false }
    expect(verdict(gone).violations).toEqual(['c: is not connected at the end'])
  })

  it('that was never told where it stands is a violation', () => {
    expect(verdict(journal()).violations).toEqual(['c: was never told where it stands'])
  })

  it('that got another author’s event is a violation', () => {
    const { violations } = verdict(journal(open(0), events(1, 2, 3)), { ops: operations(3, 'bob') })
    expect(violations).toContain('c: got event 1, which belongs to bob')
  })

  it('that got an event nobody wrote is a violation', () => {
    const { violations } = verdict(journal(open(0), events(1, 2, 3)), { ops: operations(2) })
    expect(violations).toEqual(['c: got event 3 of op 3, which nobody wrote'])
  })
})

describe('a reset', () => {
  it('is a violation where the fault does not excuse it', () => {
    const told = journal(open(0), events(1), reset(2), events(3))
    expect(faults(told)).toEqual({ resets: 1 })
    expect(verdict(told).violations).toHaveLength(1)
    expect(verdict(told, { allowed: { resets: true } }).violations).toEqual([])
  })

  it('names the place from which the numbers are dense again', () => {
    const told = journal(open(0), events(1), reset(1), events(3))
    expect(faults(told, { allowed: { resets: true } })).toEqual({ lost: 1, resets: 1 })
  })

  it('does not excuse what was lost before it', () => {
    const told = journal(open(0), events(2), reset(2), events(3))
    expect(faults(told, { allowed: { resets: true } })).toEqual({ lost: 1, resets: 1 })
  })

  it('into another history lets the same numbers come again', () => {
    const told = journal(open(0, 0, 'old'), event(1, 0, 'old'), reset(0), events(1, 2, 3))
    expect(verdict(told, { allowed: { resets: true } }).violations).toEqual([])
  })

  it('that moves back lets the numbers after it come again', () => {
    const told = journal(open(0), events(1, 2, 3), reset(1), events(2, 3))
    expect(verdict(told, { allowed: { resets: true } }).violations).toEqual([])
  })

  it('is missing where a client stays in a history that is gone', () => {
    const { violations } = verdict(journal(open(0, 0, 'old'), event(1, 0, 'old')))
    expect(violations).toEqual(['c: is still in history old, now e'])
  })
})

describe('what was acknowledged', () => {
  it('and is not in the log is lost', () => {
    const { figures, violations } = verdict(journal(open(0), events(1, 2)), {
      log: logged(1, 2),
      ops: operations(3),
    })
    expect(figures.lost).toBe(1)
    expect(violations).toEqual(['op 3 of ann was acknowledged and is not in the log'])
  })

  it('may be forgotten where the scenario takes it away', () => {
    const allowed = { forgotten: ({ number }: Operation) => number === 3 }
    const told = journal(open(0), events(1, 2))
    expect(verdict(told, { log: logged(1, 2), ops: operations(3), allowed }).violations).toEqual([])
  })

  it('must come in time, where there is a limit', () => {
    const told = journal(open(0), event(1, 1400), event(2, 2600), event(3, 3000))
    expect(verdict(told).figures).toMatchObject({ maxLagMs: 600, late: 0 })
    expect(faults(told, { allowed: { lagMs: 500 } })).toEqual({ late: 1 })
  })
})

describe('the text of an event', () => {
  it('must be the same for all clients', () => {
    const texts = new Texts()
    texts.add('ann', 'e.1', 'one')
    texts.add('ann', 'e.1', 'another')
    expect(verdict(journal(open(0), events(1, 2, 3)), { texts }).violations).toContain(
      'two texts of one event: ann e.1: one and another',
    )
  })

  it('must be that of the log, with its id', () => {
    const texts = new Texts()
    texts.add('ann', 'e.1', '{"id":"e.1","seq":1}')
    texts.add('ann', 'e.2', '{"id":"e.2","seq":22}')
    expect(verdict(journal(open(0), events(1, 2, 3)), { texts }).violations).toEqual([
      'ann got for event 2 {"id":"e.2","seq":22}, the log has {"seq":2}',
    ])
  })
})
