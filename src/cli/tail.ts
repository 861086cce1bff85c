import { once } from 'node:events'
import { WebSocket } from 'ws'
import { connect, type GlimpseEvent, type State, StreamError } from '../client/index.ts'
import { StartError } from '../errors.ts'
import { callerOptions, serviceUrl, tokenOf } from './caller.ts'
import { type Command, EXIT, paint, parse, printable, type Terminal, UsageError } from './command.ts'

const TRANSPORTS = ['auto', 'websocket', 'sse', 'poll'] as const

const HELP = `Usage: glimpse tail <user> [options]
       glimpse tail --token <jwt> [options]

Follows a user's stream until Ctrl-C: who did what, and when. It goes on by itself after a lost connection or a
restart, on whichever transport gets through, and leaves no event out. What it says of the connection goes to
standard error.

  --after <cursor>     begin after this event; 0: with the oldest kept; now, the default: with the next
  --count <n>          end after n events
  --json               an event a line, as the service sends it, for pipes; stream.reset among them
  --transport <name>   ${TRANSPORTS.join(', ')}; auto unless given
  --token <jwt>        a token of your own, instead of a development token for <user>
  --url <url>          the service; http://HOST:PORT of the variables unless given

Exit codes: 0 ended by Ctrl-C, by --count or by whoever read it, 1 a fault, 2 called wrongly.
`

export const tail: Command = {
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, {
      ...callerOptions,
      after: { type: 'string', default: 'now' },
      count: { type: 'string' },
      json: { type: 'boolean' },
      transport: { type: 'string', default: 'auto' },
    })
    const [user, ...more] = positionals
    if (more.length > 0) throw new UsageError('name one user')
    const transport = TRANSPORTS.find((name) => name === values.transport)
    if (transport === undefined) throw new UsageError(`--transport must be one of ${TRANSPORTS.join(', ')}`)
    const count = countOf(values.count)
    const url = serviceUrl(terminal.environment, values.url)
    const { token } = values
    const getToken = await tokenOf(terminal.environment, { user, token, option: 'a user' })
    const printer = new Printer(terminal, values.json === true)

    let printed = 0
    const stream = connect({
      url,
      // A given token can't be renewed, and the client should know.
      ...(typeof token === 'string' ? { token } : { getToken }),
      transport,
      after: String(values.after),
      WebSocket,
      onEvent: async (event) => {
        await printer.event(event)
        printed += 1
        if (printed === count) stream.close()
      },
      onReset: (reset) => printer.reset(reset),
      onGap: ({ expected, received, lost }) =>
        printer.say(
          `#${received} came instead of #${expected}${lost ? ', and what is between is lost' : ': asking again'}`,
        ),
      onState: (state) => printer.state(state),
      signal: terminal.interrupted,
    })
    await stream.done.catch((error: unknown) => {
      throw error instanceof StreamError ? new StartError(error.message, { cause: error }) : error
    })
    if (stream.cursor !== undefined) printer.say(`to go on from here: --after ${stream.cursor}`)
    return EXIT.ok
  },
}

function countOf(text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,14}$/.test(String(text))) throw new UsageError('--count must be a whole number from 1 on')
  return Number(text)
}

class Printer {
  readonly #out: NodeJS.WriteStream
  readonly #err: NodeJS.WriteStream
  readonly #json: boolean
  #said = ''

  constructor({ stdout, stderr }: Terminal, json: boolean) {
    this.#out = stdout
    this.#err = stderr
    this.#json = json
  }

  /** Waits while whoever reads us is busy: the stream is held up, and nothing piles up here. */
  async event(event: GlimpseEvent): Promise<void> {
    const line = this.#json ? JSON.stringify(event) : this.#line(event)
    if (!this.#out.write(`${line}\n`)) await once(this.#out, 'drain')
  }

  reset(data: { readonly reason: string; readonly cursor: string; readonly oldest: number }): void {
    if (this.#json) this.#out.write(`${JSON.stringify({ type: 'stream.reset', data })}\n`)
    this.say(`events may be missing here (${data.reason}); going on after ${data.cursor}`)
  }

  state(state: State): void {
    if (state.name === 'live') this.say(`live over ${state.transport}`)
    // The first waiting is the beginning.
    if (state.name === 'waiting' && state.reason !== 'starting') this.say(`${state.reason}; trying again`)
  }

  /** To standard error, once until something else is to be said. */
  say(text: string): void {
    if (text === this.#said) return
    this.#said = text
    this.#err.write(`${paint(this.#err, 'dim', printable(text))}\n`)
  }

  #line(event: GlimpseEvent): string {
    const time = new Date(event.timestamp).toLocaleTimeString('en-GB')
    const number = `#${event.seq}`.padEnd(6)
    return `${paint(this.#out, 'dim', time)}  ${paint(this.#out, 'cyan', number)} ${this.#what(event)}`
  }

  #what(event: GlimpseEvent): string {
    const who = (id: string) => paint(this.#out, 'bold', printable(id))
    const story = (id: string) => paint(this.#out, 'dim', printable(id))
    switch (event.type) {
      case 'story.viewed':
        return `${who(event.data.viewer_id)} viewed ${story(event.data.story_id)}`
      case 'story.reacted':
        return `${who(event.data.user_id)} reacted ${printable(event.data.emoji)} to ${story(event.data.story_id)}`
      default: {
        // One of your own making: docs/extending.md.
        const { type, data } = event as { readonly type: string; readonly data: unknown }
        return `${type} ${printable(JSON.stringify(data))}`
      }
    }
  }
}
