import { Tokens } from './tokens.ts'
import type { ConnectOptions, StreamError, Timing } from './types.ts'

const TIMING: Timing = {
  openTimeoutMs: 8000,
  backoffMs: 500,
  backoffMaxMs: 30_000,
  pollIntervalMs: 3000,
  upgradeMs: 300_000,
  answerTimeoutMs: 10_000,
  handlerTimeoutMs: 30_000,
  refusedMs: 180_000,
}

/** What all parts of one stream share: the caller's options, with defaults for those left out. */
export interface Context {
  /** Of the service, with a slash at its end. */
  readonly base: URL
  readonly fetch: typeof fetch
  readonly timing: Timing
  readonly tokens: Tokens
  readonly debug: (what: string) => void
  /** Aborted when the stream ends; everything that waits for it stops. */
  readonly signal: AbortSignal
  /** Ends the stream. */
  readonly fail: (error: StreamError) => void
}

/** @throws TypeError if the URL or the token is malformed */
export function contextOf(
  options: ConnectOptions,
  signal: AbortSignal,
  fail: (error: StreamError) => void,
): Context {
  const base = new URL(options.url)
  if (!base.pathname.endsWith('/')) base.pathname += '/'
  const timing = { ...TIMING, ...options.timing }
  const send = options.fetch ?? globalThis.fetch
  const { debug } = options
  return {
    base,
    // Called as a function of its own: browsers refuse a fetch whose `this` is anything but the window.
    fetch: (input, init) => send(input, init),
    timing,
    tokens: new Tokens(options, signal, timing.answerTimeoutMs),
    debug: typeof debug === 'function' ? debug : (what) => debug && console.debug(`glimpse: ${what}`),
    signal,
    fail,
  }
}
