import { type ChildProcess, fork } from 'node:child_process'
import { compiledPath } from './build.ts'

type Reply<Result> = { readonly id: number } & ({ readonly result: Result } | { readonly fault: string })

/** A load generator in a process of its own, one job at a time, so that it never shares a core's turn with the orchestrator. */
export class Worker<Job, Result> {
  readonly #source: string
  #child: ChildProcess | undefined
  #jobs = 0

  /** `source` is below bench/, for instance `load/writes.ts`; the other half is load/jobs.ts. */
  constructor(source: string) {
    this.#source = source
  }

  /** Rejects with what the load generator reports, or when it ends or exceeds the time. */
  run<R extends Result>(job: Job, timeoutMs: number): Promise<R> {
    // Without the orchestrator's own arguments: its TypeScript loader is none of the load generator's business.
    this.#child ??= fork(compiledPath(this.#source), {
      env: { PATH: process.env.PATH },
      stdio: 'inherit',
      execArgv: [],
    })
    const child = this.#child
    this.#jobs += 1
    const id = this.#jobs
    return new Promise((resolve, reject) => {
      const settle = (act: () => void) => {
        clearTimeout(timer)
        child.off('message', onMessage)
        child.off('exit', onExit)
        act()
      }
      const onMessage = (reply: Reply<R>) => {
        if (reply.id === id)
          settle(() => ('fault' in reply ? reject(new Error(reply.fault)) : resolve(reply.result)))
      }
      const onExit = (code: number | null) => {
        this.#child = undefined
        settle(() => reject(new Error(`the load generator ended with ${code}`)))
      }
      const timer = setTimeout(() => {
        // Whatever it is stuck in must not load the machine for the contenders that follow.
        this.stop()
        settle(() => reject(new Error(`no result within ${timeoutMs} ms`)))
      }, timeoutMs)
      child.on('message', onMessage)
      child.on('exit', onExit)
      child.send({ id, job })
    })
  }

  stop(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }
}
