import { EventSource as NpmEventSource } from 'eventsource'
import { EventSource as UndiciEventSource } from 'undici'
import { type OpenOptions, TestStream } from './stream.ts'

const TYPES = ['story.viewed', 'story.reacted', 'stream.open', 'stream.reset', 'stream.close'] as const

/** What browsers, undici and the `eventsource` package have in common. */
interface Source {
  readonly readyState: number
  addEventListener(type: string, listener: (event: { data?: unknown; lastEventId?: string }) => void): void
  close(): void
}

/** A standard EventSource: it reconnects by itself and resumes after the last id it saw. */
export class EventSourceStream extends TestStream {
  readonly source: Source
  /** How often a connection was opened. */
  opened = 0
  errors = 0

  constructor(source: Source) {
    super()
    this.source = source
    source.addEventListener('open', () => {
      this.opened += 1
    })
    source.addEventListener('error', () => {
      this.errors += 1
      if (source.readyState === 2) this.ended()
    })
    for (const type of TYPES)
      source.addEventListener(type, ({ data, lastEventId }) =>
        this.receive(String(data), { id: lastEventId, event: type }),
      )
  }

  override close(): void {
    this.source.close()
    this.ended()
  }

  override cut(): void {
    this.close()
  }
}

const SOURCES = { 'undici EventSource': UndiciEventSource, eventsource: NpmEventSource }

/** As in a browser, nothing but the URL can carry the token and the first cursor. */
export function openEventSource(
  kind: keyof typeof SOURCES,
  { url, token, lastEventId }: OpenOptions,
): Promise<EventSourceStream> {
  const address = new URL('/events', url)
  if (token !== undefined) address.searchParams.set('token', token)
  if (lastEventId !== undefined) address.searchParams.set('last_event_id', lastEventId)
  return new EventSourceStream(new SOURCES[kind](address.href) as Source).started()
}
