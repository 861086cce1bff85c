/**
 * Waits for a promise until `signal` is aborted, and at most `ms`. The work behind it can't be stopped; its later result
 * is ignored.
 *
 * @throws what the promise rejects with; the signal's reason; after `ms` an Error that names `what`
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
