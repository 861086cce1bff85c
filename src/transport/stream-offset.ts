import { parseResumePoint, type ResumePoint } from '../event.ts'

/** Digits of the greatest seq that a number can hold. */
const SEQ_DIGITS = 16

/** A cursor with its seq padded to {@link SEQ_DIGITS}, and whatever follows the seq. */
const OFFSET = new RegExp(`^([0-9a-z]+)\\.(\\d{${SEQ_DIGITS}})(\\..*)?$`)

/**
 * A cursor as an offset of the Durable Streams protocol. Its §6 requires that offsets of one stream sort as text:
 * `7f3a9c.42` → `7f3a9c.0000000000000042`.
 */
export function formatOffset(cursor: string): string {
  return cursor.replace(/\.(\d+)/, (_, seq: string) => `.${seq.padStart(SEQ_DIGITS, '0')}`)
}

/** Parses `?offset=`: `-1`, `now`, or a result of {@link formatOffset}; never throws. */
export function parseOffset(text: string): ResumePoint {
  if (text === '-1') return { from: 'oldest' }
  if (text === 'now') return { from: 'now' }
  const [, epoch, digits, rest = ''] = OFFSET.exec(text) ?? []
  if (epoch === undefined || digits === undefined) return { from: 'invalid' }
  return parseResumePoint(`${epoch}.${BigInt(digits)}${rest}`)
}
