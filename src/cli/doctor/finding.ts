import { withTimeout } from '../../limits/with-timeout.ts'

/** `problem`: it does not work or breaks a promise; `warning`: it works, but; `skipped`: not checked. */
export type Verdict = 'ok' | 'warning' | 'problem' | 'skipped'

/** The result of one check. Its texts never contain a password or a secret. */
export interface Finding {
  readonly check: string
  readonly verdict: Verdict
  readonly says: string
  /** What to do about it. */
  readonly fix?: string
}

export const ok = (check: string, says: string): Finding => ({ check, verdict: 'ok', says })
export const skipped = (check: string, says: string): Finding => ({ check, verdict: 'skipped', says })
export const warning = (check: string, says: string, fix: string): Finding => ({
  check,
  verdict: 'warning',
  says,
  fix,
})
export const problem = (check: string, says: string, fix: string): Finding => ({
  check,
  verdict: 'problem',
  says,
  fix,
})

/** Runs a check. If it fails or hangs, that is a finding too, and the other checks still run. */
export async function attempt(
  check: string,
  work: () => Promise<readonly Finding[]>,
  timeoutMs = 15_000,
): Promise<readonly Finding[]> {
  try {
    return await withTimeout(timeoutMs, work(), () => new Error(`no answer within ${timeoutMs / 1000} s`))
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0]
    return [problem(check, `could not be checked: ${reason}`, 'see the other findings first, then try again')]
  }
}
