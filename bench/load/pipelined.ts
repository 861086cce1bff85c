import { connect } from 'node:net'

const ANSWER = Buffer.from('HTTP/1.1 ')
const TWO = 0x32

/** A connection on which requests are pipelined and answers only counted: an HTTP client would be the bottleneck. */
export interface Pipelined {
  write(requests: Buffer): void
  close(): void
}

/** `onAnswers` is told how many 2xx came; `onFault` of any other answer and of the connection's end. */
export function openPipelined(
  url: string,
  onAnswers: (count: number) => void,
  onFault: (why: string) => void,
): Promise<Pipelined> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    socket.once('connect', () =>
      resolve({ write: (requests) => socket.write(requests), close: () => socket.destroy() }),
    )
    socket.once('error', (error) => {
      reject(error)
      onFault(error.message)
    })
    socket.once('end', () => onFault('the server closed a publishing connection'))
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      const bytes = Buffer.concat([rest, chunk])
      let answers = 0
      let from = 0
      for (let at = bytes.indexOf(ANSWER); at !== -1; at = bytes.indexOf(ANSWER, from)) {
        const status = at + ANSWER.length
        if (status >= bytes.length) break
        if (bytes[status] !== TWO) onFault(bytes.toString('latin1', at, at + 200))
        answers += 1
        from = status
      }
      rest = Buffer.from(bytes.subarray(Math.max(from, bytes.length - ANSWER.length)))
      if (answers > 0) onAnswers(answers)
    })
  })
}
