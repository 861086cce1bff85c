import { once } from 'node:events'
import type { GlimpseEvent, State } from '../client/index.ts'
import { paint, printable, type Terminal } from './command.ts'

/** What `glimpse tail` prints: events on standard output, what happens to the connection on standard error. */
export class Printer {
  readonly #out: NodeJS.WriteStream
  readonly #err: NodeJS.WriteStream
  readonly #json: boolean
  readonly #types: ReadonlySet<string> | undefined
  #left: number
  #said = ''

  constructor(
    { stdout, stderr }: Terminal,
    {
      json,
      types,
      count,
    }: { json: boolean; types: ReadonlySet<string> | undefined; count: number | undefined },
  ) {
    this.#out = stdout
    this.#err = stderr
    this.#json = json
    this.#types = types
    this.#left = count ?? Number.POSITIVE_INFINITY
  }

  /**
   * Prints an event, unless it is of another type. Waits while the reader of our output is busy, so that nothing is buffered
   * here.
   *
   * @param user whose stream it is from, where that is not the only one
   * @returns whether that was the last event to print
   */
  async event(event: GlimpseEvent, user?: string): Promise<boolean> {
    if (this.#left <= 0) return true
    if (this.#types !== undefined && !this.#types.has(event.type)) return false
    this.#left -= 1
    const line = this.#json ? JSON.stringify({ user, ...event }) : this.#line(event, user)
    if (!this.#out.write(`${line}\n`)) await once(this.#out, 'drain')
    return this.#left <= 0
  }

  reset(data: { readonly reason: string; readonly cursor: string; readonly oldest: number }): void {
    if (this.#json) this.#out.write(`${JSON.stringify({ type: 'stream.reset', data })}\n`)
    this.say(
      RESETS[data.reason] ??
        `the server no longer has some of your events (${data.reason}); continuing after ${data.cursor}`,
    )
  }

  state(state: State, url: string): void {
    if (state.name === 'live') this.say(`live over ${state.transport}`)
    // The first wait is the start.
    if (state.name === 'waiting' && state.reason !== 'starting')
      this.say(
        state.reason === 'the service cannot be reached'
          ? `cannot reach ${new URL(url).origin}; retrying. Start the service with: glimpse serve`
          : `${state.reason}; retrying`,
      )
  }

  /** Prints to standard error; the same text only once in a row. */
  say(text: string): void {
    if (text === this.#said) return
    this.#said = text
    this.#err.write(`${paint(this.#err, 'dim', printable(text))}\n`)
  }

  #line(event: GlimpseEvent, user: string | undefined): string {
    const time = new Date(event.timestamp).toLocaleTimeString('en-GB')
    const number = `#${event.seq}`.padEnd(6)
    const whose = user === undefined ? '' : `${printable(user)}: `
    return `${paint(this.#out, 'dim', time)}  ${paint(this.#out, 'cyan', number)} ${whose}${this.#what(event)}`
  }

  #what(event: GlimpseEvent): string {
    const who = (id: string | null) => paint(this.#out, 'bold', printable(id ?? 'a forgotten user'))
    const story = (id: string) => paint(this.#out, 'dim', printable(id))
    switch (event.type) {
      case 'story.viewed':
        return `${who(event.data.viewer_id)} viewed ${story(event.data.story_id)}`
      case 'story.reacted':
        return `${who(event.data.user_id)} reacted ${printable(event.data.emoji)} to ${story(event.data.story_id)}`
      default: {
        // An application's own type: docs/extending.md.
        const { type, data } = event as { readonly type: string; readonly data: unknown }
        return `${type} ${printable(JSON.stringify(data))}`
      }
    }
  }
}

/** The messages for resets; other reasons are printed by name. */
const RESETS: Readonly<Record<string, string>> = {
  invalid:
    'the cursor is not valid; starting with new events (earlier events are skipped). Use --after 0 for all kept events.',
  trimmed: 'some events after this cursor are no longer kept; starting with the oldest kept event',
  epoch: 'the cursor is from another history of the database; starting with the events kept now',
  ahead: 'the cursor is ahead of the stream; starting with new events',
}
