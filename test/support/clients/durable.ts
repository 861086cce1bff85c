import { FetchError, type StreamResponse, stream } from '@durable-streams/client'
import { formatOffset } from '../../../src/transport/stream-offset.ts'
import { eventTexts } from './poll.ts'
import { type OpenOptions, Rejected, TestStream } from './stream.ts'

export type DurableLive = 'long-poll' | 'sse'

const NEVER_AGAIN = { initialDelay: 50, maxDelay: 100, multiplier: 2, maxRetries: 0 }
const QUICKLY_AGAIN = { ...NEVER_AGAIN, maxRetries: Number.POSITIVE_INFINITY }

/** `/me/stream` through the npm client of the Durable Streams protocol, which reconnects and resumes by itself. */
export class DurableStream extends TestStream {
  /** Where the catch-up ended, as the service named it. */
  offset = ''
  #session: StreamResponse | undefined

  /** The texts of an array's objects, each as it came. */
  receiveArray(text: string): void {
    for (const raw of eventTexts(`{"events":${text}}`)) this.receive(raw)
  }

  follow(session: StreamResponse): void {
    this.#session = session
    session.subscribeText(({ text }) => {
      if (text !== '') this.receiveArray(text)
    })
    session.closed.then(
      () => this.ended(),
      () => this.ended(),
    )
  }

  override close(): void {
    this.#session?.cancel()
    this.ended()
  }

  override cut(): void {
    this.close()
  }
}

/** Opened once it has caught up: an event made after that is one that the live session must deliver. */
export async function openDurable(live: DurableLive, options: OpenOptions): Promise<DurableStream> {
  const durable = new DurableStream()
  const { url: base, token, lastEventId, headers: more = {} } = options
  const url = new URL('/me/stream', base)
  const headers = { ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...more }
  const from = lastEventId === undefined ? 'now' : lastEventId === '0' ? '-1' : formatOffset(lastEventId)
  const common = { url, headers, json: true, warnOnHttp: false }
  try {
    const first = await stream({ ...common, offset: from, live: false, backoffOptions: NEVER_AGAIN })
    first.subscribeText(({ text }) => durable.receiveArray(text))
    await first.closed
    durable.offset = first.offset
  } catch (error) {
    if (!(error instanceof FetchError)) throw error
    throw new Rejected(error.status, new Headers(error.headers), error.text ?? JSON.stringify(error.json))
  }
  // It resolves with the first answer, which for a long poll may be an event away.
  stream({ ...common, offset: durable.offset, live, backoffOptions: QUICKLY_AGAIN })
    .then((session) => durable.follow(session))
    .catch(() => durable.close())
  return durable
}
