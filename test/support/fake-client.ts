import { onTestFinished, vi } from 'vitest'
import { type ConnectOptions, connect, type State, type StreamError } from '../../src/client/index.ts'
import { FakeService, jwt } from './fake-service.ts'

/** Hours: no test of a token waits for its end unless it says so. */
const LATER = 4_000_000_000

export const tokenOf = (sub: string, more: object = {}) => jwt({ sub, exp: LATER, ...more })

/** A client on a service in memory, under a clock that the test moves. */
export function openFake(options: Partial<ConnectOptions> = {}, service = new FakeService()) {
  if (!vi.isFakeTimers()) vi.useFakeTimers()
  const seqs: number[] = []
  const states: State[] = []
  let ended: true | StreamError | undefined
  const { onEvent } = options
  const stream = connect({
    ...service.options,
    transport: 'sse',
    token: options.getToken === undefined ? tokenOf('alice') : undefined,
    ...options,
    onState: (state) => {
      states.push(state)
      options.onState?.(state)
    },
    onEvent: async (event) => {
      await onEvent?.(event)
      seqs.push(event.seq)
    },
  })
  stream.done.then(
    () => {
      ended = true
    },
    (error) => {
      ended = error
    },
  )
  onTestFinished(async () => {
    stream.close()
    if (!vi.isFakeTimers()) return
    await vi.advanceTimersByTimeAsync(1000)
    vi.useRealTimers()
  })
  return {
    service,
    stream,
    seqs,
    states,
    /** How `done` has settled: true, its error, or undefined where it has not. */
    get ended() {
      return ended
    },
    /** What was said while it waited. */
    get reasons() {
      return states.flatMap((state) => (state.name === 'waiting' ? [state.reason] : []))
    },
  }
}

/** Lets the clock run, with all that happens meanwhile. */
export async function pass(ms: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(ms)
}

export const never = () => new Promise<never>(() => {})
