/** What the client does: bytes at once, bytes in chops, or a pause in ms. */
export type Step = Buffer | { readonly bytes: Buffer; readonly chop: number } | { readonly pause: number }

/** What a conforming server does with it. */
export type Expectation =
  /** Goes on: answers each ping with its payload, delivers the next event, answers a close. */
  | { readonly alive: true; readonly pongs?: readonly (Buffer | string)[] }
  /**
   * Closes with one of these codes, and answers no ping that comes after the fault. `failFast`: should have done so
   * before the last step was sent; later is legal but not strict.
   */
  | {
      readonly closes: readonly number[]
      readonly pongs?: readonly (Buffer | string)[]
      readonly failFast?: true
    }
  /** Free to do what it likes, as long as the connection ends cleanly or lives on. */
  | { readonly informational: true }

export interface Case {
  /** Begins with the number of the Autobahn suite's class; `x` and a number: of that class, but not in the suite. */
  readonly id: string
  readonly what: string
  readonly steps: readonly Step[]
  readonly expected: Expectation
}

export const ALIVE: Expectation = { alive: true }
export const PROTOCOL_ERROR: Expectation = { closes: [1002] }
export const BAD_TEXT: Expectation = { closes: [1007] }
export const TOO_BIG: Expectation = { closes: [1009] }

/** Numbers cases `1.1.1`, `1.1.2` … in the order they are listed. */
export function numbered(
  group: string,
  rows: readonly (readonly [what: string, steps: readonly Step[], expected: Expectation])[],
): Case[] {
  return rows.map(([what, steps, expected], i) => ({ id: `${group}.${i + 1}`, what, steps, expected }))
}

export const chopped = (bytes: Buffer, chop = 1): Step => ({ bytes, chop })
