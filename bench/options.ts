import { parseArgs } from 'node:util'
import { PARTS, type Part } from './report/results.ts'

export interface Options {
  /** None: only the pages are made anew, from the results that are there. */
  readonly parts: readonly Part[]
  readonly quick: boolean
  /** Keep the results and make the pages and plots from them. */
  readonly write: boolean
  readonly rounds: number
  /** Folder for Glimpse's CPU profiles; profiling costs some of its speed. */
  readonly profile: string | undefined
}

export const USAGE = `npm run bench -- [${PARTS.join(' | ')} | report …] [--quick] [--write | --no-write] [--rounds n] [--profile folder]

All parts without a name; report only makes the pages anew from the results in bench/results. --quick is a rehearsal:
shorter, one round, everything at a smaller size, and written only with --write.`

/** Throws with a line for the person at the terminal. */
export function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    allowNegative: true,
    options: {
      quick: { type: 'boolean', default: false },
      write: { type: 'boolean' },
      rounds: { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const named = positionals.filter((name) => name !== 'report')
  for (const name of named) if (!PARTS.includes(name as Part)) throw new Error(`no part is called ${name}`)
  return {
    parts: positionals.length === 0 ? PARTS : PARTS.filter((part) => named.includes(part)),
    quick: values.quick,
    // A profile costs speed: what was measured under one is not kept unless that is asked for.
    write: values.write ?? (!values.quick && values.profile === undefined),
    rounds: whole('rounds', values.rounds ?? (values.quick ? '1' : '3'), 1, 20),
    profile: values.profile,
  }
}

function whole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max)
    throw new Error(`--${name} must be a whole number from ${min} to ${max}`)
  return value
}
