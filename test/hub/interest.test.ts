import { afterEach, describe, expect, it } from 'vitest'
import { FakeLog } from '../support/fake-log.ts'
import { HubModel } from '../support/hub-model.ts'

let model: HubModel
afterEach(() => model.hub.close())

/** A hub whose bus hears only of users it was told of, and hears of each once `confirm` is called. */
function hubWith(events: number) {
  const told: string[] = []
  const pending: (() => void)[] = []
  model = new HubModel(new FakeLog(200), undefined, {
    follow: (user) => {
      told.push(`follow ${user}`)
      return new Promise<void>((resolve) => pending.push(resolve))
    },
    unfollow: (user) => told.push(`unfollow ${user}`),
  })
  for (let n = 0; n < events; n++) model.write('alice')
  return { told, confirm: () => pending.splice(0).forEach((resolve) => void resolve()) }
}

describe('a hub whose bus hears only of the users that it follows', () => {
  it('reads the head only once the user is followed, so that no event slips between the two', async () => {
    const { told, confirm } = hubWith(2)
    const { witness } = model.connect('alice')
    await model.settle()
    expect([told, model.reads.asked.head]).toEqual([['follow alice'], 0])
    // Committed before anything is heard of alice: the head that is read later has it.
    model.write('alice')
    confirm()
    await model.settle()
    expect([witness.told, witness.seq]).toEqual([[], 3])
    model.push('alice', model.write('alice'))
    expect(witness.told).toEqual([4])
  })

  it('gives what came over the bus before the head was read', async () => {
    const { confirm } = hubWith(2)
    const { witness } = model.connect('alice', '0')
    await model.settle()
    model.push('alice', model.write('alice'))
    confirm()
    await model.settle()
    expect(witness.told).toEqual([1, 2, 3])
  })

  it('follows a user until the last connection is gone', async () => {
    const { told, confirm } = hubWith(1)
    const [first, second] = [model.connect('alice'), model.connect('alice')]
    confirm()
    await model.settle()
    first.leave()
    expect(told.filter((word) => word.startsWith('unfollow'))).toEqual([])
    second.leave()
    expect(told.at(-1)).toBe('unfollow alice')
  })

  it('lets go of a user who left before being followed', async () => {
    const { told, confirm } = hubWith(1)
    const client = model.connect('alice')
    client.leave()
    expect(told).toEqual(['follow alice', 'unfollow alice'])
    confirm()
    await model.settle()
    expect([model.hub.connections, client.witness.told]).toEqual([0, []])
  })

  it('reads the heads of those whom the bus doubts, and of no others', async () => {
    const { confirm } = hubWith(1)
    const [alice, bob] = [model.connect('alice'), model.connect('bob')]
    confirm()
    await model.settle()
    confirm()
    await model.settle()
    model.write('alice')
    model.write('bob')
    await model.hub.recheck(['alice', 'a user who has left'])
    await model.settle()
    expect([alice.witness.steps, bob.witness.steps]).toEqual([[2], []])
  })

  it('survives a log that cannot be read while it looks', async () => {
    const { confirm } = hubWith(1)
    const { witness } = model.connect('alice')
    confirm()
    await model.settle()
    model.write('alice')
    model.reads.holds = new Set(['heads'])
    const looked = model.hub.recheck(['alice'])
    await model.settle()
    model.reads.held[0]?.fail()
    await looked
    expect(witness.steps).toEqual([])
    model.reads.holds = new Set()
    await model.hub.sweep()
    await model.settle()
    expect(witness.steps).toEqual([2])
  })
})
