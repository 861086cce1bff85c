import { afterEach, describe, expect, it } from 'vitest'
import { FakeLog } from '../support/fake-log.ts'
import { HubModel, type Witness } from '../support/hub-model.ts'

let model: HubModel
afterEach(() => model.hub.close())

/** A hub over a log in which alice has so many events. */
function hubWith(events: number, pageEvents = 200): HubModel {
  model = new HubModel(new FakeLog(pageEvents))
  for (let n = 0; n < events; n++) model.write('alice')
  return model
}

/** Numbers from one to another. */
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

async function connected(cursor = '') {
  const client = model.connect('alice', cursor)
  await model.settle()
  return client.witness
}

describe('a hub whose sweep is off', () => {
  it('pushes what is next without reading the log', async () => {
    hubWith(2)
    const alice = await connected()
    model.push('alice', model.write('alice', 2))
    model.push('alice', model.write('alice'))
    expect(alice.told).toEqual([3, 4, 5])
    expect(model.reads.asked.page).toBe(0)
    expect(model.hub.traffic.pushed).toBe(3)
  })

  it('gives what was pushed while the head was being read', async () => {
    hubWith(2)
    model.reads.holds = new Set(['head'])
    const { witness } = model.connect('alice')
    await model.settle()
    model.push('alice', model.write('alice'))
    model.reads.held[0]?.release(false)
    await model.settle()
    expect(witness.told).toEqual([3])
  })

  it('gives what a hint announced while the head was being read', async () => {
    hubWith(2)
    model.reads.holds = new Set(['head'])
    const { witness } = model.connect('alice')
    await model.settle()
    model.write('alice')
    model.announce('alice', 3)
    model.reads.held[0]?.release(false)
    await model.settle()
    expect(witness.told).toEqual([3])
  })

  it('does not give twice what the head that was read late has already', async () => {
    hubWith(2)
    model.reads.holds = new Set(['head'])
    const { witness } = model.connect('alice', '0')
    await model.settle()
    const run = model.write('alice')
    model.push('alice', run)
    model.reads.held[0]?.release(true)
    await model.settle()
    model.push('alice', run)
    await model.settle()
    expect(witness.told).toEqual([1, 2, 3])
  })

  it('reads page after page until a connection stands at the head', async () => {
    hubWith(10, 3)
    expect((await connected('0')).told).toEqual(range(1, 10))
  })

  it('writes a long run in chunks, pushed as well as read, and none is lost between them', async () => {
    hubWith(1)
    const [live, slow] = [await connected(), await connected()]
    slow.unsent = 1001
    for (let n = 0; n < 4; n++) model.push('alice', model.write('alice', 25))
    model.push('alice', model.write('alice', 100))
    expect(live.told).toEqual(range(2, 201))
    slow.unsent = 0
    model.announce('alice', 201)
    await model.settle()
    expect(slow.told).toEqual(range(2, 201))
    expect((await connected('0')).told).toEqual(range(1, 201))
    expect(model.reads.asked.page).toBeLessThanOrEqual(4)
  })

  it('reads what a lost notification left out, once the next one comes', async () => {
    hubWith(1)
    const alice = await connected()
    model.write('alice', 2)
    model.push('alice', model.write('alice'))
    await model.settle()
    expect(alice.told).toEqual([2, 3, 4])
  })

  it('takes a doubled or late notification for nothing', async () => {
    hubWith(1)
    const alice = await connected()
    const [first, second] = [model.write('alice'), model.write('alice', 2)]
    model.push('alice', second)
    await model.settle()
    for (const run of [first, second, first]) model.push('alice', run)
    model.announce('alice', 2)
    await model.settle()
    expect(alice.told).toEqual([2, 3, 4])
    expect(model.reads.asked.page).toBe(1)
  })

  it('gives the end of a run of which the beginning is known', async () => {
    hubWith(1)
    const alice = await connected()
    const [first, second] = [model.write('alice'), model.write('alice')]
    model.push('alice', first)
    model.push('alice', {
      first: 2,
      previous: first.previous,
      times: [...first.times, ...second.times],
      bodies: [...first.bodies, ...second.bodies],
    })
    expect(alice.told).toEqual([2, 3])
    expect(model.reads.asked.page).toBe(0)
  })

  it('reads one page for all connections of a user that are behind, from the least cursor on', async () => {
    hubWith(6)
    model.reads.holds = new Set(['head'])
    const clients = ['0', '', '0'].map((cursor) => model.connect('alice', cursor))
    await model.settle()
    model.write('alice')
    model.announce('alice', 7)
    for (const held of [...model.reads.held]) held.release(false)
    await model.settle()
    expect(clients.map(({ witness }) => witness.told)).toEqual([range(1, 7), [7], range(1, 7)])
    expect(model.reads.asked.page).toBeLessThanOrEqual(2)
  })

  it.each([
    ['first', [0, 1]],
    ['last', [1, 0]],
  ])('reads one page for two that fell behind, from the one furthest behind on, who came %s', async (_, order) => {
    hubWith(1)
    const clients = [await connected(), await connected()]
    const [far, near] = order.map((nth) => clients[nth]) as [Witness, Witness]
    far.unsent = 1001
    model.push('alice', model.write('alice', 2))
    near.unsent = 1001
    model.push('alice', model.write('alice', 2))
    far.unsent = near.unsent = 0
    model.announce('alice', 5)
    await model.settle()
    expect([far.told, near.told]).toEqual([range(2, 5), range(2, 5)])
    expect(model.hub.traffic).toEqual({ pushed: 2, caughtUp: 6, pages: 1 })
  })

  it('tells of a hole at the very beginning, and warns of it', async () => {
    hubWith(3)
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => seq !== 1)
    expect((await connected('0')).steps).toEqual(['gap', 2, 3])
    expect(model.warnings).toHaveLength(1)
  })

  it('takes neither a run nor a hint of another history', async () => {
    hubWith(2)
    const alice = await connected()
    const { times, bodies } = { times: [99], bodies: ['{"seq":3,"type":"x","data":{}}'] }
    model.push('alice', { first: 3, previous: 2, times, bodies }, 'e2')
    model.announce('alice', 9, 'e2')
    await model.settle()
    expect(alice.told).toEqual([])
    expect(model.reads.asked.page).toBe(0)
    expect(model.hub.survey().behind.sse).toBe(0)
  })

  it.each([
    ['at another time', 1],
    ['nobody knows when', undefined],
  ])('does not push an event before which another was logged %s', async (_when, previous) => {
    hubWith(2)
    const alice = await connected()
    const run = { ...model.write('alice'), previous }
    model.reads.holds = new Set(['page'])
    model.push('alice', run)
    expect(alice.told).toEqual([])
    model.reads.held[0]?.release(true)
    await model.settle()
    expect(alice.told).toEqual([3])
  })

  it('holds a slow reader up, and goes on when it has drained', async () => {
    hubWith(0)
    const client = model.connect('alice')
    await model.settle()
    client.witness.unsent = 1001
    for (let n = 0; n < 3; n++) model.push('alice', model.write('alice'))
    await model.settle()
    expect(client.witness.told).toEqual([])
    expect(model.reads.asked.page).toBe(0)
    client.witness.unsent = 0
    client.drained()
    await model.settle()
    expect(client.witness.told).toEqual([1, 2, 3])
  })

  it('lets nobody wait for a slow reader of the same user', async () => {
    hubWith(0)
    const [slow, quick] = [await connected(), await connected()]
    slow.unsent = 1001
    model.push('alice', model.write('alice'))
    model.write('alice')
    model.announce('alice', 2)
    await model.settle()
    expect([slow.told, quick.told]).toEqual([[], [1, 2]])
  })

  it('tells of a hole and goes on behind it, whatever the page says', async () => {
    hubWith(9, 3)
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => ![2, 3, 7].includes(seq))
    const told = [1, 'gap', 4, 5, 6, 'gap', 8, 9]
    expect((await connected('0')).steps).toEqual(told)
    expect((await connected('0')).steps).toEqual(told)
  })

  it('gives one whom a hole held up nothing of what another of the user is due', async () => {
    hubWith(9)
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => seq !== 3 && seq !== 4)
    model.reads.holds = new Set(['page'])
    const clients = ['e1.2', 'e1.5'].map((cursor) => model.connect('alice', cursor))
    await model.settle()
    model.reads.holds = new Set()
    model.reads.held[0]?.release(false)
    await model.settle()
    expect(clients.map(({ witness }) => witness.steps)).toEqual([
      ['gap', 5, 6, 7, 8, 9],
      [6, 7, 8, 9],
    ])
  })

  it('tells a slow reader that history was trimmed past it', async () => {
    hubWith(1)
    const client = model.connect('alice')
    await model.settle()
    client.witness.unsent = 1001
    model.push('alice', model.write('alice', 5))
    model.log.stream('alice').trim(4)
    client.witness.unsent = 0
    client.drained()
    await model.settle()
    expect(client.witness.steps).toEqual(['trimmed', 4, 5, 6])
  })

  it('stops where a read brings nothing forward, and reads again when there is more', async () => {
    hubWith(1)
    const alice = await connected()
    model.announce('alice', 5)
    await model.settle()
    expect(alice.told).toEqual([])
    expect(model.reads.asked.page).toBe(1)
    model.push('alice', model.write('alice'))
    await model.settle()
    expect(alice.told).toEqual([2])
  })

  it('reads again after a read has failed', async () => {
    hubWith(1)
    const alice = await connected()
    model.reads.holds = new Set(['page'])
    model.write('alice')
    model.announce('alice', 2)
    model.reads.held[0]?.fail()
    await model.settle()
    model.reads.holds = new Set()
    model.announce('alice', 2)
    await model.settle()
    expect(alice.told).toEqual([2])
  })

  it('forgets a user whose last connection has gone', async () => {
    hubWith(1)
    const clients = [model.connect('alice'), model.connect('alice'), model.connect('bob')]
    await model.settle()
    expect([model.hub.users, model.hub.connections]).toEqual([2, 3])
    for (const client of clients) client.leave()
    expect([model.hub.users, model.hub.connections]).toEqual([0, 0])
    expect(model.hub.subscriber('alice')).toBeUndefined()
  })

  it('forgets a user whose head could not be read, or who left before it was', async () => {
    hubWith(1)
    model.reads.holds = new Set(['head'])
    const [failed, left] = [model.connect('alice'), model.connect('bob')]
    const refused = expect(failed.begun).rejects.toThrow('the log cannot be read')
    left.leave()
    model.reads.held[0]?.fail()
    await refused
    expect([model.hub.users, model.hub.connections]).toEqual([0, 0])
  })

  it('tells what has been read once, and never back', async () => {
    hubWith(3)
    const alice = await connected()
    const mark = (seq: number) => model.hub.subscriber('alice')?.markRead('e1', { seq, time: seq }, 3 - seq)
    for (const seq of [2, 2, 1, 3]) mark(seq)
    model.hub.subscriber('alice')?.markRead('e2', { seq: 9, time: 9 }, 0)
    expect(alice.told).toEqual(['read 2', 'read 3'])
  })
})

describe('a sweep', () => {
  it('finds what no notification brought', async () => {
    hubWith(2)
    const alice = await connected()
    model.write('alice', 2)
    await model.hub.sweep()
    await model.settle()
    expect(alice.told).toEqual([3, 4])
  })

  it('tells what has been read elsewhere', async () => {
    hubWith(2)
    const alice = await connected()
    model.log.stream('alice').read = 2
    for (let sweeps = 0; sweeps < 2; sweeps++) await model.hub.sweep()
    expect(alice.told).toEqual(['read 2'])
  })

  it('of heads that are older than what was pushed meanwhile resets nobody', async () => {
    hubWith(2)
    const alice = await connected()
    model.reads.holds = new Set(['heads'])
    const swept = model.hub.sweep()
    model.push('alice', model.write('alice'))
    model.reads.held[0]?.release(false)
    await swept
    expect(alice.told).toEqual([3])
  })

  it('that is wanted during another follows it', async () => {
    hubWith(2)
    const alice = await connected()
    model.reads.holds = new Set(['heads'])
    const swept = model.hub.sweep()
    model.write('alice')
    void model.hub.sweep()
    void model.hub.sweep()
    model.reads.held[0]?.release(false)
    await model.settle()
    model.reads.held[0]?.release(false)
    await swept
    await model.settle()
    expect(alice.told).toEqual([3])
    expect(model.reads.asked.heads).toBe(2)
  })

  it('that fails is followed by one that does not', async () => {
    hubWith(2)
    const alice = await connected()
    model.reads.holds = new Set(['heads'])
    const failed = model.hub.sweep()
    model.reads.held[0]?.fail()
    await failed
    model.reads.holds = new Set()
    model.write('alice')
    await model.hub.sweep()
    await model.settle()
    expect(alice.told).toEqual([3])
  })

  it('follows a gap in the bus', async () => {
    hubWith(2)
    const alice = await connected()
    model.write('alice')
    model.hub.gap('e1')
    await model.settle()
    expect(alice.told).toEqual([3])
  })

  it('follows a history that a page or a head has met', async () => {
    hubWith(2)
    const alice = await connected()
    model.log.epoch = 'e2'
    model.connect('bob')
    await model.settle()
    expect(alice.steps).toEqual(['epoch'])
    expect(alice.cursor).toMatch(/^e2\.2\./)
  })

  it('resets whoever is ahead of the log, and forgets all that was said of it before', async () => {
    hubWith(5)
    const alice = await connected()
    model.hub.subscriber('alice')?.markRead('e1', { seq: 4, time: 4 }, 1)
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => seq <= 2)
    Object.assign(stream, { head: 2, headTime: 2, read: 1 })
    await model.hub.sweep()
    expect(alice.told).toEqual(['read 4', 'ahead', 'read 1'])
    expect(alice.seq).toBe(2)
    // Nothing is owed to it that the log no longer has.
    expect(model.hub.survey().behind.sse).toBe(0)
    expect(model.reads.asked.page).toBe(0)
    model.push('alice', model.write('alice'))
    expect(alice.told.at(-1)).toBe(3)
    expect(model.reads.asked.page).toBe(0)
  })

  it('resets nobody where 0.1 did not note when an event was logged, in the log or at the connection', async () => {
    hubWith(3)
    const stream = model.log.stream('alice')
    const known = await connected()
    stream.headTime = undefined
    const unknown = await connected()
    await model.hub.sweep()
    stream.headTime = 3
    await model.hub.sweep()
    expect([known.steps, unknown.steps]).toEqual([[], []])
  })

  it('resets whoever stands at the number of another event', async () => {
    hubWith(3)
    const alice = await connected()
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => seq <= 2)
    Object.assign(stream, { head: 2, headTime: 2 })
    model.write('alice')
    await model.hub.sweep()
    expect(alice.steps).toEqual(['epoch'])
    await model.hub.sweep()
    expect(alice.steps).toEqual(['epoch'])
  })

  it('tells each connection of a hole, and warns once', async () => {
    hubWith(3)
    const [one, other] = [await connected(), await connected()]
    model.write('alice', 3)
    const stream = model.log.stream('alice')
    stream.rows = stream.rows.filter(({ seq }) => seq !== 4)
    await model.hub.sweep()
    await model.settle()
    expect([one.steps, other.steps]).toEqual([
      ['gap', 5, 6],
      ['gap', 5, 6],
    ])
    expect(model.warnings).toHaveLength(1)
  })
})
