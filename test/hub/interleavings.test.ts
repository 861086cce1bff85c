import fc from 'fast-check'
import { afterEach, expect, it } from 'vitest'
import { Cursors } from '../../src/cursor.ts'
import type { EventRun } from '../../src/event.ts'
import { partsOf } from '../support/cursor.ts'
import { FakeLog } from '../support/fake-log.ts'
import { type Connected, HubModel } from '../support/hub-model.ts'

const USERS = ['alice', 'bob'] as const
type User = (typeof USERS)[number]

type Step =
  | {
      readonly do: 'write'
      readonly user: User
      readonly count: number
      readonly told: 'now' | 'late' | 'never' | 'hint' | 'twice'
    }
  | {
      readonly do: 'connect'
      readonly user: User
      readonly with: 'now' | '0' | 'last' | 'old' | 'other' | 'forged'
    }
  | {
      readonly do: 'leave' | 'slow' | 'drain' | 'deliver' | 'release' | 'stale' | 'fail'
      readonly nth: number
    }
  | { readonly do: 'hold'; readonly reads: readonly ('head' | 'heads' | 'page')[] }
  | { readonly do: 'sweep' | 'gap' | 'epoch' }
  | {
      readonly do: 'back' | 'hole' | 'trim' | 'read' | 'head'
      readonly user: User
      readonly seq: number
      readonly count: number
    }

const user = fc.constantFrom(...USERS)
const nth = fc.nat(5)
const place = { user, seq: fc.integer({ min: 0, max: 12 }), count: fc.integer({ min: 1, max: 3 }) }
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('write' as const),
      user,
      count: fc.integer({ min: 1, max: 4 }),
      told: fc.constantFrom('now', 'late', 'never', 'hint', 'twice'),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('connect' as const),
      user,
      with: fc.constantFrom('now', '0', 'last', 'old', 'other', 'forged'),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('leave', 'slow', 'drain', 'deliver', 'release', 'stale', 'fail'),
      nth,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('hold' as const),
      reads: fc.subarray(['head', 'heads', 'page'] as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('sweep', 'gap', 'epoch') }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('back', 'hole', 'trim', 'read', 'head'), ...place }),
  },
)

let model: HubModel | undefined
afterEach(() => model?.hub.close())

/** Carries out the steps, then lets everything end and sweeps; who is connected then must stand at the head. */
async function run(steps: readonly Step[], pageEvents: number): Promise<void> {
  /** Which event was logged behind which, by their bodies, in any history. */
  const follows = new Set<string>()
  const bodies = new Set<string>()
  /** The body at each number of a user's present history, whether or not the log still has it. */
  const chains: Record<User, string[]> = { alice: [], bob: [] }
  const log = new FakeLog(pageEvents)
  const made = new HubModel(log, ({ user }, { body, seq, id }, before) => {
    if (!bodies.has(`${user} ${body}`)) throw new Error(`${user} was given what was never logged: ${body}`)
    if (before !== undefined && !follows.has(`${before.body} ${body}`))
      throw new Error(`${body} was given behind ${before.body}, which no history has`)
    const { time } = JSON.parse(body).data
    if (!new Cursors(user).fits(partsOf(id), time)) throw new Error(`${id} is not the cursor of ${seq}`)
  })
  model = made
  const { hub, reads } = made
  const clients: Connected[] = []
  const left = new Map<User, string>()
  const late: { user: User; run: EventRun; epoch: string }[] = []
  const pick = <Item>(items: readonly Item[], n: number) => items[n % Math.max(1, items.length)]

  for (const one of steps) {
    switch (one.do) {
      case 'write': {
        const before = chains[one.user][log.stream(one.user).head]
        const run = made.write(one.user, one.count)
        for (const [i, body] of run.bodies.entries()) {
          bodies.add(`${one.user} ${body}`)
          chains[one.user][run.first + i] = body
          follows.add(`${i === 0 ? before : run.bodies[i - 1]} ${body}`)
        }
        if (one.told === 'now' || one.told === 'twice') made.push(one.user, run)
        if (one.told === 'late' || one.told === 'twice') late.push({ user: one.user, run, epoch: log.epoch })
        if (one.told === 'hint') made.announce(one.user, run.first + run.bodies.length - 1)
        break
      }
      case 'connect': {
        const head = log.stream(one.user).head
        const other = one.user === 'alice' ? 'bob' : 'alice'
        const cursor = {
          now: '',
          0: '0',
          last: left.get(one.user) ?? '',
          old: `${log.epoch}.${head >> 1}`,
          other: left.get(other) ?? '',
          forged: new Cursors(one.user).format(log.epoch, { seq: head >> 1, time: 7 }),
        }[one.with]
        const client = made.connect(one.user, cursor)
        client.begun.catch(() => client.leave())
        clients.push(client)
        break
      }
      case 'leave': {
        const client = pick(clients, one.nth)
        client?.leave()
        if (client !== undefined && client.witness.cursor !== '')
          left.set(client.witness.user as User, client.witness.cursor)
        break
      }
      case 'slow': {
        const client = pick(clients, one.nth)
        if (client !== undefined) client.witness.unsent = 1001
        break
      }
      case 'drain': {
        const client = pick(clients, one.nth)
        if (client === undefined) break
        client.witness.unsent = 0
        client.drained()
        break
      }
      case 'deliver': {
        const [message] = late.splice(one.nth % Math.max(1, late.length), 1)
        if (message !== undefined) made.push(message.user, message.run, message.epoch)
        break
      }
      case 'release':
        pick(reads.held, one.nth)?.release(true)
        break
      case 'stale':
        pick(reads.held, one.nth)?.release(false)
        break
      case 'fail':
        pick(reads.held, one.nth)?.fail()
        break
      case 'hold':
        reads.holds = new Set(one.reads)
        break
      case 'sweep':
        void hub.sweep()
        break
      case 'gap':
        late.length = 0
        hub.gap(log.epoch)
        break
      case 'epoch':
        log.epoch = `e${made.now++}`
        break
      case 'back': {
        const stream = log.stream(one.user)
        const to = Math.max(stream.oldest - 1, Math.min(one.seq, stream.head))
        stream.rows = stream.rows.filter(({ seq }) => seq <= to)
        stream.head = to
        chains[one.user].length = to + 1
        stream.headTime = stream.row(to)?.time ?? stream.trimmedTime
        break
      }
      case 'hole': {
        const stream = log.stream(one.user)
        stream.rows = stream.rows.filter(({ seq }) => seq < one.seq || seq >= one.seq + one.count)
        break
      }
      case 'trim': {
        const stream = log.stream(one.user)
        if (one.seq > stream.oldest && one.seq <= stream.head + 1) stream.trim(one.seq)
        break
      }
      case 'read':
        log.stream(one.user).read = Math.max(
          log.stream(one.user).read,
          Math.min(one.seq, log.stream(one.user).head),
        )
        break
      case 'head': {
        // Somebody raises it by hand: numbers are skipped that no event has.
        log.stream(one.user).head += one.count
        break
      }
    }
    if (made.now % 2 === 0) await made.settle()
  }

  reads.holds = new Set()
  for (let n = 0; reads.held.length > 0; n++) reads.held[0]?.release(n % 2 === 0)
  await made.settle()
  for (const { witness, drained } of clients) {
    witness.unsent = 0
    drained()
  }
  for (let sweeps = 0; sweeps < 3; sweeps++) {
    await hub.sweep()
    for (let n = 0; n < 8; n++) await made.settle()
  }
  for (const { witness, isOpen } of clients) {
    if (!isOpen || witness.closed) continue
    const { head } = log.stream(witness.user)
    expect(partsOf(witness.cursor), `${witness.user}: ${witness.told}`).toMatchObject({
      epoch: log.epoch,
      seq: head,
    })
  }
  // A number that was announced and then taken out of the log is waited for until an event has it.
  if (!steps.some((one) => one.do === 'back')) expect(hub.survey().behind.sse).toBe(0)
  for (const client of clients) client.leave()
  expect([hub.users, hub.connections]).toEqual([0, 0])
  hub.close()
}

it('whatever happens in whichever order: each is given exactly the next event, or told, and ends at the head', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 40 }), fc.constantFrom(1, 2, 3, 200), run),
    { numRuns: 400 },
  )
}, 60_000)
