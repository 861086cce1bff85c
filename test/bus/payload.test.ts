import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { BusListener, Recipient } from '../../src/bus/bus.ts'
import { readPayloads } from '../../src/bus/payload.ts'
import type { EventRun } from '../../src/event.ts'
import { bodyOf } from '../support/stream-state.ts'

function read(payloads: string[], wanted?: (user: string) => boolean) {
  return listen(payloads, wanted).heard
}

function listen(payloads: string[], wanted: (user: string) => boolean = () => true) {
  const heard: [string, EventRun | number | string][] = []
  const recipients = new Map<string, Recipient>()
  const recipientOf = (user: string): Recipient => ({
    push: (_epoch, run) => heard.push([user, run]),
    announce: (_epoch, seq) => heard.push([user, seq]),
    markRead: (_epoch, { seq, time }, unread) =>
      heard.push([user, `read ${seq} of ${time}, unread ${unread}`]),
  })
  const unwanted = readPayloads('e1', payloads, {
    recipient: (user) => {
      if (wanted(user) && !recipients.has(user)) recipients.set(user, recipientOf(user))
      return recipients.get(user)
    },
    onHandedOn: (...trailer) => trailers.push(trailer),
  })
  return { heard, unwanted }
}

const trailers: Parameters<BusListener['onHandedOn']>[] = []
beforeEach(() => {
  trailers.length = 0
})

const AT = 1763906000123456
/** A payload as glimpse.log_events() sends it. */
const payload = (...lines: string[]) => [...lines, `\t${AT}`].join('\n')
const line = (user: string, seq: number, previous: number | string = '') =>
  `${user}\t${seq}\t${previous}\t${bodyOf(seq)}`
const run = (first: number, count: number, previous: number | undefined): EventRun => ({
  first,
  previous,
  times: Array(count).fill(AT),
  bodies: Array.from({ length: count }, (_, i) => bodyOf(first + i)),
})

describe('payloads that arrive together', () => {
  it('give consecutive events of a user as one run, over all payloads', () => {
    expect(read([payload(line('a', 1, 0), line('a', 2), line('b', 7, 99)), payload(line('a', 3))])).toEqual([
      ['a', run(1, 3, 0)],
      ['b', run(7, 1, 99)],
    ])
  })

  it('keep events apart of which the next does not follow the one before', () => {
    expect(read([payload(line('a', 1, 0)), payload(line('a', 2, 98))])).toEqual([
      ['a', run(1, 1, 0)],
      ['a', run(2, 1, 98)],
    ])
  })

  it('keep the order where numbers are missing or come again', () => {
    expect(read([payload(line('a', 1, 0), line('a', 3), line('a', 3))])).toEqual([
      ['a', run(1, 1, 0)],
      ['a', run(3, 1, AT)],
      ['a', run(3, 1, AT)],
    ])
  })

  it('say where it is not known when the event before was logged', () => {
    expect(read([payload(line('a', 8, '-'))])).toEqual([['a', run(8, 1, undefined)]])
  })

  it('give a hint where the body was left out', () => {
    expect(read([payload('a\t4\t3\t', line('b', 1, 0))])).toEqual([
      ['a', 4],
      ['b', run(1, 1, 0)],
    ])
  })

  it('tell what a user has read after the events that came before it', () => {
    expect(read([payload(line('a', 1, 0), line('b', 1, 0)), 'a\tr1\t99\t0', payload(line('a', 2))])).toEqual([
      ['a', run(1, 1, 0)],
      ['a', 'read 1 of 99, unread 0'],
      ['b', run(1, 1, 0)],
      ['a', run(2, 1, AT)],
    ])
    expect(read(['a\tr1\t-\t3'])).toEqual([['a', 'read 1 of undefined, unread 3']])
    expect(read(['a\tr0\t1\t1\na\tr\t1\t1\na\tr1\t1\t-1\na\tr1\t1\tx\na\tr1\t1\t\na\tr1\t1'])).toEqual([])
  })

  it('leave out the users that nobody waits for', () => {
    expect(read([payload(line('a', 1, 0), line('b', 1, 0))], (user) => user === 'b')).toEqual([
      ['b', run(1, 1, 0)],
    ])
  })

  it('are counted where they bring no event for anybody who waits here', () => {
    const unwanted = (...payloads: string[]) => listen(payloads, (user) => user === 'a').unwanted
    expect(unwanted(payload(line('b', 1, 0)), payload(line('b', 2)))).toBe(2)
    expect(unwanted('a\tr1\t99\t0', payload('a\t4\t3\t'), payload('a\tx\t0\t{}'))).toBe(3)
    expect(
      unwanted(payload(line('a', 1, 0)), payload(line('a', 2)), payload(line('b', 1), line('a', 9))),
    ).toBe(0)
  })
})

describe('a line is not believed', () => {
  it.each([
    ['that is empty', ''],
    ['of line ends alone', '\n'],
    ['of one field', 'a'],
    ['of two', 'a\t1'],
    ['of three', `a\t1\t${bodyOf(1)}`],
    ['whose number is none', `a\tx\t0\t${bodyOf(1)}`],
    ['whose number is 0', `a\t0\t0\t${bodyOf(0)}`],
    ['whose number is negative', `a\t-1\t0\t${bodyOf(-1)}`],
    ['whose number has a sign', `a\t+1\t0\t${bodyOf(1)}`],
    ['whose number has a zero before it', `a\t01\t0\t${bodyOf(1)}`],
    ['whose number is larger than a number can be exactly', 'a\t9007199254740992\t0\t'],
    ['of three, though with what is before it it looks like a body', `${bodyOf(1)}\t1\t}`],
    ['whose number is no whole one', `a\t1.0\t0\t${bodyOf(1)}`],
    ['whose body is that of another number', `a\t2\t1\t${bodyOf(3)}`],
    ['whose body is no body', 'a\t2\t1\t{"seq":2}'],
    ['whose body ends early', `a\t2\t1\t${bodyOf(2).slice(0, -1)}`],
    ['whose body has a type of ours', 'a\t2\t1\t{"seq":2,"type":"Stream Close","data":{}}'],
    [
      'with a line end inside',
      `a\t2\t1\t${bodyOf(2).replace('{}', '{}\r\rid: zzz.9\revent: stream.close\rdata: {}\r\r')}`,
    ],
  ])('%s', (_what, text) => {
    expect(read([payload(text)])).toEqual([])
  })

  it('whatever it is made of: nothing is thrown, and what is handed on has the number that its body says', () => {
    const part = fc.oneof(
      fc.constantFrom('\t', '\n', '\r', 'a', '-', '0', '1', '2', 'r1', 'r', '', `${AT}`, '\tclose\t'),
      fc.integer({ min: -1, max: 3 }).map((seq) => bodyOf(seq)),
      fc.integer({ min: 0, max: 3 }).map((seq) => line('a', seq, seq - 1)),
      fc.constant(`\n\t${AT}`),
      fc.string({ unit: 'binary', maxLength: 5 }),
    )
    const payloads = fc.array(
      fc.array(part, { maxLength: 12 }).map((parts) => parts.join('')),
      { maxLength: 3 },
    )
    let handedOn = 0
    fc.assert(
      fc.property(payloads, (payloads) => {
        for (const [, heard] of read(payloads)) {
          if (typeof heard !== 'object') continue
          handedOn++
          expect(heard.times).toHaveLength(heard.bodies.length)
          for (const [i, body] of heard.bodies.entries()) {
            expect(body.startsWith(`{"seq":${heard.first + i},"type":"`)).toBe(true)
            expect(body).not.toMatch(/[\r\n]/)
          }
        }
      }),
      { numRuns: 3000 },
    )
    expect(handedOn).toBeGreaterThan(100)
  })

  it('that does not say when it was logged', () => {
    for (const trailer of ['', '\n\t', '\n\tx', '\n\t-1', '\n\t1.5'])
      expect(read([`${line('a', 1, 0)}${trailer}`])).toEqual([])
  })

  it('for the largest number, but up to that', () => {
    expect(read([payload('a\t9007199254740991\t0\t')])).toEqual([['a', Number.MAX_SAFE_INTEGER]])
  })

  it('which does not keep those beside it from being heard', () => {
    expect(read([payload('a\tx\t0\t{}', line('a', 1, 0))])).toEqual([['a', run(1, 1, 0)]])
  })
})

describe('a trailer', () => {
  const trace = (n: number) => `00-${`${n}`.repeat(32)}-${`${n}`.repeat(16)}-01`
  const at = (time: number, ...lines: string[]) => [...lines, `\t${time}`].join('\n')

  it('says when the oldest payload was sent, and is no event', () => {
    read([at(AT, line('a', 1, 0)), at(AT + 9, line('a', 2, AT))])
    expect(trailers).toEqual([[AT, []]])
  })

  it('is none either where it looks like a line', () => {
    expect(read([`${line('a', 1, 0)}\n\t7\t0\t${bodyOf(7)}`]).map(([user]) => user)).toEqual(['a'])
  })

  it('names the traces of what was handed on, once each payload', () => {
    read([
      `${at(AT, line('a', 1, 0))}\t${trace(1)}`,
      at(AT, line('a', 2)),
      `${at(AT + 9, line('a', 3))}\t${trace(3)}`,
    ])
    expect(trailers).toEqual([
      [
        AT,
        [
          { sentAt: AT, traceparent: trace(1) },
          { sentAt: AT + 9, traceparent: trace(3) },
        ],
      ],
    ])
  })

  it('of a payload that brings nobody here anything is not looked at', () => {
    read([`${at(AT, line('b', 1, 0))}\t${trace(1)}`, at(AT, 'a\t4\t\t')], (user) => user === 'a')
    expect(trailers).toEqual([])
  })
})
