/**
 * The load generator's half of harness/worker.ts: answers each job with `{result}` or `{fault}`, and ends when the
 * orchestrator does, however it does.
 */
export function answerJobs<Job, Result>(work: (job: Job) => Promise<Result>): void {
  process.on('message', (job: Job) => {
    work(job).then(
      (result) => process.send?.({ result }),
      (error: unknown) => process.send?.({ fault: error instanceof Error ? error.message : String(error) }),
    )
  })
  process.on('disconnect', () => process.exit())
}

/** Cores this process kept busy since `mark`: 1 means that JavaScript had no time left, so the generator was the limit. */
export function coresSince(mark: { readonly cpu: NodeJS.CpuUsage; readonly at: number }): number {
  const { user, system } = process.cpuUsage(mark.cpu)
  return (user + system) / 1000 / (performance.now() - mark.at)
}

export function cpuMark(): { readonly cpu: NodeJS.CpuUsage; readonly at: number } {
  return { cpu: process.cpuUsage(), at: performance.now() }
}

/** Nearest-rank percentile; sorts in place. NaN where there is nothing. */
export function percentile(values: number[], share: number): number {
  values.sort((a, b) => a - b)
  return values[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)] ?? Number.NaN
}
