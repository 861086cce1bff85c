import type { IncomingMessage } from 'node:http'

/**
 * Whether the caller has this answer already (RFC 9110 §13.1.2). Weak comparison, because a proxy that compressed the answer
 * may have made its tag weak.
 */
export function hasTag({ headers }: IncomingMessage, tag: string): boolean {
  const known = headers['if-none-match']?.split(',').map((each) => each.trim().replace(/^W\//, ''))
  return known?.some((each) => each === tag || each === '*') === true
}
