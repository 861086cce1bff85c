/**
 * The load generator's half of harness/worker.ts: answers each `{id, job}` with `{id, result}` or `{id, fault}`, and
 * ends when the orchestrator does, however it does.
 */
export function answerJobs<Job, Result>(work: (job: Job) => Promise<Result>): void {
  process.on('message', ({ id, job }: { readonly id: number; readonly job: Job }) => {
    work(job).then(
      (result) => process.send?.({ id, result }),
      (error: unknown) =>
        process.send?.({ id, fault: error instanceof Error ? error.message : String(error) }),
    )
  })
  process.on('disconnect', () => process.exit())
  // It may have ended while this file was being loaded, and nobody would say so again.
  if (!process.connected) process.exit()
}

/** Cores this process kept busy since `mark`: 1 means that JavaScript had no time left, so the generator was the limit. */
export function coresSince(mark: { readonly cpu: NodeJS.CpuUsage; readonly at: number }): number {
  const { user, system } = process.cpuUsage(mark.cpu)
  return (user + system) / 1000 / (performance.now() - mark.at)
}

export function cpuMark(): { readonly cpu: NodeJS.CpuUsage; readonly at: number } {
  return { cpu: process.cpuUsage(), at: performance.now() }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
