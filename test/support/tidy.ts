import { afterAll, beforeAll, expect, vi } from 'vitest'

/** For test files that share a process: each must leave it as it was. */
const stateOf = () => ({
  variables: { ...process.env },
  globals: Object.getOwnPropertyNames(globalThis).filter((name) => !name.startsWith('__')),
  fakesTime: vi.isFakeTimers(),
  // One that stays would steer the next file's clock or chance.
  spies: Object.entries({ setTimeout, setInterval, now: performance.now, random: Math.random, fetch })
    .filter(([, value]) => vi.isMockFunction(value))
    .map(([name]) => name),
  listeners: ['SIGTERM', 'SIGINT', 'uncaughtException'].map((event) => process.listenerCount(event)),
})

let before: ReturnType<typeof stateOf>
beforeAll(() => {
  before = stateOf()
})
afterAll(() => {
  expect(stateOf()).toEqual(before)
})
