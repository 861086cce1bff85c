import { beforeEach, describe, expect, it } from 'vitest'
import type { BusListener, Recipient } from '../../src/bus/bus.ts'
import { readPayloads } from '../../src/bus/payload.ts'
import type { EventRun } from '../../src/event.ts'

function read(payloads: string[], wanted: (user: string) => boolean = () => true) {
  const heard: [string, EventRun | number | string][] = []
  const recipients = new Map<string, Recipient>()
  const recipientOf = (user: string): Recipient => ({
    push: (_epoch, run) => heard.push([user, run]),
    announce: (_epoch, seq) => heard.push([user, seq]),
    markRead: (_epoch, seq, unread) => heard.push([user, `read ${seq}, unread ${unread}`]),
  })
  readPayloads('e1', payloads, {
    recipient: (user) => {
      if (wanted(user) && !recipients.has(user)) recipients.set(user, recipientOf(user))
      return recipients.get(user)
    },
    onHandedOn: (...trailer) => trailers.push(trailer),
  })
  return heard
}

const trailers: Parameters<BusListener['onHandedOn']>[] = []
beforeEach(() => {
  trailers.length = 0
})

describe('payloads that arrive together', () => {
  it('give consecutive events of a user as one run, over all payloads', () => {
    expect(read(['a\t1\t{1}\na\t2\t{2}\nb\t7\t{7}', 'a\t3\t{3}'])).toEqual([
      ['a', { first: 1, bodies: ['{1}', '{2}', '{3}'] }],
      ['b', { first: 7, bodies: ['{7}'] }],
    ])
  })

  it('keep the order where numbers are missing or come again', () => {
    expect(read(['a\t1\t{1}\na\t3\t{3}\na\t3\t{3}'])).toEqual([
      ['a', { first: 1, bodies: ['{1}'] }],
      ['a', { first: 3, bodies: ['{3}'] }],
      ['a', { first: 3, bodies: ['{3}'] }],
    ])
  })

  it('give a hint where the body was left out', () => {
    expect(read(['a\t4\t\nb\t1\t{1}'])).toEqual([
      ['a', 4],
      ['b', { first: 1, bodies: ['{1}'] }],
    ])
  })

  it('tell what a user has read after the events that came before it', () => {
    expect(read(['a\t1\t{1}\nb\t1\t{1}\na\tr1\t0\na\t2\t{2}'])).toEqual([
      ['a', { first: 1, bodies: ['{1}'] }],
      ['a', 'read 1, unread 0'],
      ['b', { first: 1, bodies: ['{1}'] }],
      ['a', { first: 2, bodies: ['{2}'] }],
    ])
    expect(read(['a\tr0\t1\na\tr\t1\na\tr1\t-1\na\tr1\tx'])).toEqual([])
  })

  it('leave out the users that nobody waits for', () => {
    expect(read(['a\t1\t{1}\nb\t1\t{1}'], (user) => user === 'b')).toEqual([
      ['b', { first: 1, bodies: ['{1}'] }],
    ])
  })

  it.each([
    '',
    '\n',
    'a',
    'a\t1',
    'a\tx\t{}',
    'a\t0\t{}',
    'a\t-1\t{}',
    'a\nb\t1',
  ])('pass over what is no line: %j', (payload) => {
    expect(read([payload])).toEqual([])
  })
})

describe('a trailer', () => {
  const AT = 1763906000123456
  const trace = (n: number) => `00-${`${n}`.repeat(32)}-${`${n}`.repeat(16)}-01`

  it('says when the oldest payload was sent, and is no event', () => {
    expect(read([`a\t1\t{1}\n\t${AT}`, `a\t2\t{2}\n\t${AT + 9}`])).toEqual([
      ['a', { first: 1, bodies: ['{1}', '{2}'] }],
    ])
    expect(trailers).toEqual([[AT, []]])
  })

  it('names the traces of what was handed on, once each payload', () => {
    read([`a\t1\t{1}\n\t${AT}\t${trace(1)}`, `a\t2\t{2}\n\t${AT}`, `a\t3\t{3}\n\t${AT + 9}\t${trace(3)}`])
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
    expect(read([`b\t1\t{1}\n\t${AT}\t${trace(1)}`, `a\t4\t\n\t${AT}`], (user) => user === 'a')).toEqual([
      ['a', 4],
    ])
    expect(trailers).toEqual([])
  })

  it('may be missing: an application of another version wrote the payload', () => {
    expect(read(['a\t1\t{1}'])).toEqual([['a', { first: 1, bodies: ['{1}'] }]])
    expect(trailers).toEqual([])
  })
})
