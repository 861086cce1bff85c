import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { seal, unseal } from '../../src/bus/envelope.ts'
import { readPayloads } from '../../src/bus/payload.ts'
import { Routing } from '../../src/bus/routing.ts'
import { Subjects } from '../../src/bus/subjects.ts'
import { bodyOf } from '../support/stream-state.ts'

/** What one user is told by these payloads. */
function toldTo(user: string, payloads: readonly string[]): unknown[] {
  const told: unknown[] = []
  readPayloads('e1', payloads, {
    recipient: (name) =>
      name === user
        ? {
            push: (_, run) => told.push(run),
            announce: (_, seq) => told.push(seq),
            markRead: (_, read, unread) => told.push([read, unread]),
          }
        : undefined,
    onHandedOn: (...handed) => told.push(handed),
  })
  return told
}

const users = ['a', 'b', 'a b', 'Ζωή', 'x'.repeat(255)]
const at = fc.integer({ min: 1, max: 9_007_199_254_740_991 })
const line = fc
  .record({
    user: fc.constantFrom(...users),
    seq: fc.integer({ min: 1, max: 9 }),
    previous: fc.oneof(fc.constant(''), fc.constant('-'), at.map(String)),
    body: fc.oneof(fc.constant(undefined), fc.constant(''), fc.string({ unit: 'grapheme' })),
  })
  .map(
    ({ user, seq, previous, body }) =>
      `${user}\t${seq}\t${previous}\t${body === undefined ? bodyOf(seq) : body === '' ? '' : bodyOf(seq, { body })}`,
  )
const events = fc
  .tuple(fc.array(line, { minLength: 1, maxLength: 6 }), at, fc.boolean())
  .map(([lines, time, traced]) => `${lines.join('\n')}\n\t${time}${traced ? '\t00-abc-def-01' : ''}`)
const mark = fc
  .tuple(fc.constantFrom(...users), fc.integer({ min: 1, max: 9 }), at)
  .map(([user, seq, time]) => `${user}\tr${seq}\t${time}\t0`)
/** Whoever knows the channel may notify anything that is text. */
const anything = fc
  .array(fc.constantFrom('a', 'b', '\t', '\n', '1', 'r', '{"seq":1', '\tclose\t', '\tqueue', '😀'), {
    maxLength: 12,
  })
  .map((parts) => parts.join(''))
const payload = fc.oneof({ weight: 4, arbitrary: events }, { weight: 2, arbitrary: mark }, anything)

describe('dividing what was notified', () => {
  it('tells every user what reading all of it would', () => {
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 8 }), (payloads) => {
        const routing = new Routing()
        for (const each of payloads) routing.add(each)
        for (const user of users) {
          const own = routing.users.get(user) ?? []
          expect(toldTo(user, own)).toEqual(
            toldTo(
              user,
              payloads.filter((each) => !each.startsWith('\t')),
            ),
          )
        }
      }),
    )
  })

  it('hands nobody a line that is for another', () => {
    const routing = new Routing()
    routing.add(`a\t1\t0\t${bodyOf(1)}\nb\t7\t0\t${bodyOf(7)}\na\t2\t\t${bodyOf(2)}\n\t5`)
    expect(routing.users).toEqual(
      new Map([
        ['a', [`a\t1\t0\t${bodyOf(1)}\na\t2\t\t${bodyOf(2)}\n\t5`]],
        ['b', [`b\t7\t0\t${bodyOf(7)}\n\t5`]],
      ]),
    )
    expect(routing.queued).toBe(false)
  })

  it('hands on read marks, which have no trailer', () => {
    const routing = new Routing()
    for (const marks of ['a\tr1\t5\t0\nb\tr2\t5\t0', 'a\tr2\t5\t0']) routing.add(marks)
    expect(routing.users).toEqual(
      new Map([
        ['a', ['a\tr1\t5\t0', 'a\tr2\t5\t0']],
        ['b', ['b\tr2\t5\t0']],
      ]),
    )
  })

  it('hands on no line that names nobody', () => {
    const routing = new Routing()
    for (const each of ['nobody', 'nobody\nnobody', 'nobody\nb\tr2\t5\t0', 'nobody\n\t5']) routing.add(each)
    expect(routing.users).toEqual(new Map([['b', ['b\tr2\t5\t0']]]))
  })

  it('tells calls from canaries, and calls to everybody from both', () => {
    const routing = new Routing()
    for (const each of ['\tclose\thost:1', '\thost:2\tnats 7', '\tqueue', '\tclose\t', '\t', '\t\t'])
      routing.add(each)
    expect(routing.instances).toEqual(
      new Map([
        ['host:1', ['\tclose\thost:1']],
        ['host:2', ['\thost:2\tnats 7']],
      ]),
    )
    expect([routing.queued, routing.users.size]).toEqual([true, 0])
  })
})

describe('a message', () => {
  it('carries its payloads and their history', () => {
    const payloads = fc.array(
      fc.string().map((text) => text.replaceAll('\0', '')),
      { minLength: 1 },
    )
    fc.assert(
      fc.property(payloads, (payloads) => {
        expect(seal({ epoch: 'e1', payloads }).map(unseal)).toEqual([{ epoch: 'e1', payloads }])
      }),
    )
  })

  it('is cut in several where it would be larger than servers take, in order', () => {
    const payloads = Array.from({ length: 200 }, (_, n) => `${n} ${'❤️'.repeat(3900)}`)
    const messages = seal({ epoch: 'e1', payloads })
    expect(messages.length).toBeGreaterThan(1)
    for (const message of messages) expect(Buffer.byteLength(message)).toBeLessThan(1_048_576)
    expect(messages.map(unseal).flatMap((each) => each.payloads)).toEqual(payloads)
    expect(new Set(messages.map((each) => unseal(each).epoch))).toEqual(new Set(['e1']))
  })
})

describe('subjects', () => {
  it('are one for each user and instance, of characters that mean nothing to NATS', () => {
    const subjects = new Subjects('shop')
    const names = ['a', 'b', '>', '*', 'a b', 'a.b', '😀'.repeat(255)]
    const all = [...names.map((name) => subjects.user(name)), ...names.map((name) => subjects.instance(name))]
    expect(new Set(all).size).toBe(2 * names.length)
    for (const subject of all) expect(subject).toMatch(/^shop\.[ui]\.[\w-]{22}$/)
    // Known to other programs that are to publish or hear.
    expect(subjects.user('alice')).toBe('shop.u.K9gGyX8OAK8aH8Myj6djqS')
  })
})
