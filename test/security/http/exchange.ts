import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface RawAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

export interface Exchange {
  /** The answers that came, each whole. */
  readonly answers: readonly RawAnswer[]
  /** What came and is no answer: nothing, unless a stream or an upgrade began. */
  readonly rest: string
  /** Whether the server ended the connection. */
  readonly closed: boolean
}

/** How long the server may keep a connection that it has to refuse. */
const PATIENCE_MS = 5000
/** How long nothing more may come before an open connection counts as having said all. */
const QUIET_MS = 150

/**
 * Sends these very bytes, and reads until the server ends the connection, or has answered `answers` times and then says
 * nothing more; this side never ends it first.
 */
export async function exchange(
  url: string,
  bytes: Buffer | string,
  { answers: awaited = 1 } = {},
): Promise<Exchange> {
  const { hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
  const received: Buffer[] = []
  let lastAt = Date.now()
  let closed = false
  const end = () => {
    closed = true
  }
  socket
    .on('data', (chunk) => {
      received.push(chunk)
      lastAt = Date.now()
    })
    .on('end', end)
    .on('close', end)
    .on('error', end)
  socket.write(bytes)
  const deadline = Date.now() + PATIENCE_MS
  try {
    for (;;) {
      const { answers, rest } = takeAnswers(Buffer.concat(received))
      const quiet = answers.length >= awaited && Date.now() - lastAt > QUIET_MS
      if (closed || quiet || Date.now() > deadline) return { answers, rest, closed }
      await sleep(10)
    }
  } finally {
    socket.destroy()
  }
}

/** The statuses of all answers to these very bytes. */
export async function statusesOf(url: string, bytes: Buffer | string, answers = 1): Promise<number[]> {
  return (await exchange(url, bytes, { answers })).answers.map(({ status }) => status)
}

/** Reads whole answers off the front: those with a Content-Length, or without a body. */
function takeAnswers(bytes: Buffer): { answers: RawAnswer[]; rest: string } {
  const answers: RawAnswer[] = []
  let rest = bytes
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    const head = end === -1 ? '' : rest.toString('latin1', 0, end)
    const [statusLine = '', ...lines] = head.split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
    const headers = new Headers(lines.map((line) => line.split(/: ?(.*)/, 2) as [string, string]))
    const length = headers.get('content-length') ?? (status === 204 ? '0' : undefined)
    const next = end + 4 + Number(length)
    if (end === -1 || Number.isNaN(status) || length === undefined || rest.length < next)
      return { answers, rest: rest.toString() }
    answers.push({ status, headers, body: rest.toString('utf8', end + 4, next) })
    rest = rest.subarray(next)
  }
}

/** A plain connection that a test sends on as it likes; ended by the test. */
export function dial(url: string): Socket {
  const { hostname, port } = new URL(url)
  return connect({ port: Number(port), host: hostname, allowHalfOpen: true }).on('error', () => {})
}
