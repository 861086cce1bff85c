import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { countCases } from './support/full.ts'
import type { Case } from './websocket/case.ts'
import { CLOSING } from './websocket/cases/closing.ts'
import { AUTO_FRAGMENTATION, FRAGMENTATION } from './websocket/cases/fragmentation.ts'
import { FRAMING } from './websocket/cases/framing.ts'
import { OPCODES, RESERVED_BITS } from './websocket/cases/header-bits.ts'
import { PINGS } from './websocket/cases/pings.ts'
import { UTF8 } from './websocket/cases/utf8.ts'
import { judge, type Verdict } from './websocket/judge.ts'

/** The Autobahn suite's classes of cases, 1 to 7 and 10, against a server that pushes instead of echoing. */
const CLASSES: Readonly<Record<string, readonly Case[]>> = {
  '1 framing': FRAMING,
  '2 pings and pongs': PINGS,
  '3 reserved bits': RESERVED_BITS,
  '4 opcodes': OPCODES,
  '5 fragmentation': FRAGMENTATION,
  '6 UTF-8': UTF8,
  '7 closing': CLOSING,
  '10 automatic fragmentation': AUTO_FRAGMENTATION,
}

/** Cases in flight at a time. */
const ABREAST = 8

let instance: Instance
let viewer: Caller
beforeAll(async () => {
  instance = await startInstance({ RATE_LIMIT: 'off' })
  viewer = await instance.caller('viewer')
})
afterAll(() => instance.close())

describe('WebSocket conformance', () => {
  it.for(Object.entries(CLASSES))('%s', async ([name, cases], context) => {
    const verdicts = await playAll(cases)
    const failures = verdicts.flatMap(({ behaviour, why }, i) =>
      behaviour === 'FAILED' ? [`${cases[i]?.id} ${cases[i]?.what}: ${why}`] : [],
    )
    const lesser = (['NON-STRICT', 'INFORMATIONAL'] as const).flatMap((kind) => {
      const { length } = verdicts.filter(({ behaviour }) => behaviour === kind)
      return length === 0 ? [] : [`${name}: ${length} ${kind}`]
    })
    countCases(context, cases.length, ...lesser)
    expect(failures).toEqual([])
  })
})

async function playAll(cases: readonly Case[]): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  const waiting = [...cases.entries()]
  const player = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [author] = await newCallers(instance.url, 'author')
      verdicts[next[0]] = await judge(next[1], author as Caller, viewer)
    }
  }
  await Promise.all(Array.from({ length: ABREAST }, player))
  return verdicts
}
