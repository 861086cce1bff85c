import { parseArgs } from 'node:util'

export const PARTS = ['writes', 'delivery', 'latency', 'idle'] as const
export type Part = (typeof PARTS)[number]

export interface Options {
  readonly parts: readonly Part[]
  readonly quick: boolean
  /** Write docs/benchmarks.md. */
  readonly write: boolean
  readonly rounds: number
  /** Subscribers of the delivery part. */
  readonly connections: number
  /** Folder for Glimpse's CPU profiles; profiling costs some of its speed. */
  readonly profile: string | undefined
}

export const USAGE = `npm run bench -- [${PARTS.join(' | ')} …] [--quick] [--write] [--rounds n] [--connections n] [--profile folder]`

/** Throws with a line for the person at the terminal. */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      connections: { type: 'string', default: '1000' },
      profile: { type: 'string' },
    },
  })
  for (const name of positionals)
    if (!PARTS.includes(name as Part)) throw new Error(`no part is called ${name}`)
  return {
    parts: positionals.length === 0 ? PARTS : (positionals as Part[]),
    quick: values.quick,
    write: values.write,
    rounds: whole('rounds', values.rounds ?? (values.quick ? '1' : '3'), 1, 20),
    connections: whole('connections', values.connections, 10, 10_000),
    profile: values.profile,
  }
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max)
    throw new Error(`--${name} must be a whole number from ${min} to ${max}`)
  return value
}
