import { UsageError } from './command.ts'

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

/**
 * Parses a time such as `90`, `45s`, `30m`, `1h`, `1d` or `2w` into seconds.
 *
 * @throws UsageError for any other text, and outside of 1 to `max` seconds
 */
export function parseDuration(option: string, text: string, max: number): number {
  const [, digits, unit = 's'] = /^(\d{1,12})([smhdw])?$/.exec(text) ?? []
  const seconds = Number(digits) * (SECONDS[unit] ?? Number.NaN)
  if (!(seconds >= 1 && seconds <= max))
    throw new UsageError(
      `${option} must be a time such as 90 (seconds), 45s, 30m, 1h or 1d, from 1 second to ${max / 86_400} days`,
    )
  return seconds
}
