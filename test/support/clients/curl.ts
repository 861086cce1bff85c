import { type ChildProcess, spawn } from 'node:child_process'
import { SseReader } from './sse.ts'
import type { OpenOptions } from './stream.ts'

/** `curl -N` as a subprocess, its standard output read as it comes. */
export class CurlStream extends SseReader {
  readonly child: ChildProcess

  constructor(child: ChildProcess) {
    super()
    this.child = child
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => this.feed(chunk))
    child.on('close', (code) => this.ended(code === null ? {} : { code }))
  }

  override close(): void {
    this.child.kill('SIGTERM')
  }

  override cut(): void {
    this.child.kill('SIGKILL')
  }
}

export function openCurl({ url, token, lastEventId, headers = {} }: OpenOptions): Promise<CurlStream> {
  const sent: Record<string, string> = {
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }),
    ...headers,
  }
  const flags = Object.entries(sent).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const child = spawn('curl', ['-sN', '--fail', ...flags, new URL('/events', url).href], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return new CurlStream(child).started()
}
