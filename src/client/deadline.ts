/**
 * Waits for somebody else's work, but not past the abort of `signal`, and no longer than `ms`. The work itself can't be
 * stopped: what becomes of it later is ignored.
 *
 * @throws what the work throws; the signal's reason; an Error that names `what` where the time is over
 */
export function within<Result>(
  work: Result | PromiseLike<Result>,
  signal: AbortSignal | undefined,
  ms?: number,
  what?: string,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const aborted = () => settle(() => reject(signal?.reason))
    const timer =
      ms === undefined
        ? undefined
        : setTimeout(() => settle(() => reject(new Error(`${what} took longer than ${ms} ms`))), ms)
    const settle = (how: () => void) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', aborted)
      how()
    }
    if (signal?.aborted) aborted()
    signal?.addEventListener('abort', aborted)
    Promise.resolve(work).then(
      (result) => settle(() => resolve(result)),
      (error) => settle(() => reject(error)),
    )
  })
}
