import { type ChildProcess, fork } from 'node:child_process'
import type { Jobs, Reply } from '../load/jobs.ts'
import type { Run } from '../run.ts'
import { compiledPath } from './build.ts'

/** Longer than any job takes. */
const PATIENCE_MS = 90_000

/** A load generator in a process of its own, one job at a time, so that it never shares a core's turn with the orchestrator. */
export class Worker<Own extends Jobs> {
  readonly #source: string
  #child: ChildProcess | undefined
  #settle: (reply: Reply) => void = () => {}

  /** `source` is below bench/, for instance `load/writes.ts`; the other half is load/jobs.ts. */
  constructor(run: Pick<Run, 'defer'>, source: string) {
    this.#source = source
    run.defer(() => this.stop())
  }

  /** Rejects with what the load generator reports, or when it ends or exceeds the time. */
  async run<Name extends keyof Own & string>(
    name: Name,
    job: Parameters<Own[Name]>[0],
  ): Promise<Awaited<ReturnType<Own[Name]>>> {
    this.#child ??= this.#start()
    this.#child.send({ name, job })
    const timer = setTimeout(() => {
      // Whatever it is stuck in must not load the machine for the contenders that follow.
      this.stop()
      this.#settle({ fault: `no result within ${PATIENCE_MS} ms` })
    }, PATIENCE_MS)
    const reply = await new Promise<Reply>((resolve) => {
      this.#settle = resolve
    })
    clearTimeout(timer)
    if ('fault' in reply) throw new Error(reply.fault)
    return reply.result as Awaited<ReturnType<Own[Name]>>
  }

  stop(): void {
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  #start(): ChildProcess {
    // Without the orchestrator's own arguments: its TypeScript loader is none of the load generator's business.
    const child = fork(compiledPath(this.#source), { env: { PATH: process.env.PATH }, execArgv: [] })
    child.on('message', (reply: Reply) => this.#settle(reply))
    child.on('exit', (code) => this.#settle({ fault: `the load generator ended with ${code}` }))
    return child
  }
}
