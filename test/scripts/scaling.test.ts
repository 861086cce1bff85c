import { describe, expect, it } from 'vitest'
import { type Figures, figuresOf } from '../../scripts/scaling/figures.ts'
import { scaling } from '../../scripts/scaling/page.ts'
import { simulateStorm } from '../../scripts/scaling/storm.ts'
import { instancesFor, listeningCores, mostEvents, strain } from '../../scripts/scaling/system.ts'
import { HEADROOM } from '../../src/cli/sizing.ts'

const figures: Figures = {
  postgres: { event: 25, statement: 500 },
  own: { event: 20, statement: 100 },
  foreign: { event: 5, statement: 100 },
  relay: { event: 15, statement: 60 },
  nats: { event: 6, statement: 30 },
  ownByNats: { event: 25, statement: 40 },
  wakeUpUs: 20,
  idleCores: 0.01,
  walBytes: 900,
  logBytes: 400,
  commitMs: 1,
  commitsPerSecond: 1500,
  connectionKb: 12,
  resumeUs: 500,
  resumePostgresUs: 100,
}

const load = (eventsPerSecond: number, users = 1000) => ({ users, connectionsPerUser: 1, eventsPerSecond })

describe('strain', () => {
  it('sends single events alone, and more in a statement the more there are', () => {
    expect(strain(figures, 1, load(10))).toMatchObject({ batch: 1, statements: 10 })
    const busy = strain(figures, 1, load(20_000))
    expect(busy.batch).toBeGreaterThan(10)
    // What arrives in the time of one of two statements on the way is the next batch.
    const seconds = 0.001 + (500 + busy.batch * 25) / 1e6
    expect(busy.batch).toBeCloseTo((20_000 * seconds) / 2, 0)
  })

  it('never has more commits than NOTIFY lets through', () => {
    expect(strain(figures, 50, load(10_000)).statements).toBeLessThanOrEqual(1500.001)
  })

  it('charges each instance for its own events, for hearing the others, and for every statement', () => {
    const [one, four] = [strain(figures, 1, load(10_000)), strain(figures, 4, load(10_000))]
    expect(one.instanceBusy).toBeCloseTo(0.2 + one.statements * 1e-4 + 0.01)
    expect(four.instanceBusy).toBeCloseTo(0.05 + 0.0375 + four.statements * 1e-4 + 0.01)
  })

  it('charges Postgres for waking every further instance', () => {
    const [one, many] = [strain(figures, 1, load(1)), strain(figures, 11, load(1))]
    expect((many.postgresBusy - one.postgresBusy) * 1e6).toBeCloseTo(10 * 20)
    const nats = [1, 11].map(
      (instances) => strain(figures, instances, { ...load(1), bus: 'NATS' }).postgresBusy,
    )
    expect(nats[0]).toBe(nats[1])
  })
})

describe('listeningCores', () => {
  const load = { instances: 8, statements: 1000, rows: 2 }

  it('grows with the instances where each listens', () => {
    const { postgres, instances, relay, nats } = listeningCores(figures, 'LISTEN', load)
    expect(postgres).toBeCloseTo(8 * 1000 * 20e-6)
    // Every statement, and of two events a quarter of one is each instance's own.
    expect(instances).toBeCloseTo(8 * 1000 * (100e-6 + 2 * (20e-6 / 8 + (7 / 8) * 5e-6)))
    expect([relay, nats]).toEqual([0, 0])
  })

  it('charges a statement that is only heard of by its own figure', () => {
    const hearing = listeningCores({ ...figures, foreign: { event: 5, statement: 0 } }, 'LISTEN', {
      ...load,
      rows: 1,
    })
    expect(hearing.instances).toBeCloseTo(1000 * (100e-6 + 20e-6 + 7 * 5e-6))
  })

  it('does not grow with them where NATS gives each what its users need', () => {
    const { postgres, relay, nats, instances } = listeningCores(figures, 'NATS', load)
    expect(postgres).toBeCloseTo(1000 * 20e-6)
    expect(relay).toBeCloseTo(1000 * (60e-6 + 2 * 15e-6))
    expect(nats).toBeCloseTo(1000 * (30e-6 + 2 * 6e-6))
    expect(instances).toBeCloseTo(1000 * (40e-6 + 2 * 25e-6))
    expect(listeningCores(figures, 'NATS', { ...load, instances: 1000 })).toEqual(
      listeningCores(figures, 'NATS', load),
    )
  })
})

describe('instancesFor', () => {
  it('takes one for a small load, and as many as the connections need', () => {
    expect(instancesFor(figures, 8, load(100))).toBe(1)
    expect(instancesFor(figures, 8, load(100, 170_000))).toBe(4)
  })

  it('has no answer where hearing alone fills a core, or Postgres is full', () => {
    expect(instancesFor(figures, 1000, load((HEADROOM * 1e6) / 5 + 20_000))).toBeUndefined()
    expect(instancesFor(figures, 1, load(50_000))).toBeUndefined()
  })

  it('has no answer where one relay is not enough', () => {
    expect(instancesFor(figures, 1000, { ...load(20_000), bus: 'NATS' })).toBeDefined()
    expect(instancesFor(figures, 1000, { ...load(50_000), bus: 'NATS' })).toBeUndefined()
  })
})

describe('mostEvents', () => {
  it('finds the rate past which there is no answer', () => {
    const most = mostEvents(figures, 8, { users: 1000, connectionsPerUser: 1 })
    expect(instancesFor(figures, 8, load(most))).toBeDefined()
    expect(instancesFor(figures, 8, load(most * 1.05))).toBeUndefined()
  })
})

describe('simulateStorm', () => {
  const crowd = {
    clients: 10_000,
    spreadSeconds: 0,
    capacity: 1000,
    patienceSeconds: 30,
    backoffSeconds: 1,
    maxBackoffSeconds: 30,
  }

  it('takes everybody back at the rate of the instances', () => {
    const { seconds, attempts } = simulateStorm(crowd)
    expect(seconds).toBeGreaterThan(9)
    expect(seconds).toBeLessThan(11)
    expect(attempts).toBeCloseTo(1)
  })

  it('has no queue to speak of when the attempts are spread', () => {
    expect(simulateStorm({ ...crowd, spreadSeconds: 20 }).longestQueue).toBeLessThan(200)
  })

  it('wastes work on those who gave up', () => {
    const impatient = simulateStorm({ ...crowd, patienceSeconds: 3 })
    expect(impatient.attempts).toBeGreaterThan(1.5)
    expect(impatient.seconds).toBeGreaterThan(11)
  })

  it('loses nobody on the way', () => {
    expect(simulateStorm({ ...crowd, capacity: 100, patienceSeconds: 1 }).seconds).toBeGreaterThan(100)
  })
})

describe('without results', () => {
  it('there are no figures, and every table says so', () => {
    const values = Object.values(figuresOf({})).flatMap((one) =>
      typeof one === 'number' ? one : Object.values(one),
    )
    expect(values.every((value) => Number.isNaN(value) || value === 0)).toBe(true)
    for (const passage of Object.values(scaling({}).passages).flatMap((page) => Object.values(page))) {
      expect(passage).toContain('–')
      expect(passage).not.toMatch(/NaN|undefined|Infinity/)
    }
  })
})
