import { WebSocket } from 'ws'
import { connect, type GlimpseEvent, StreamError } from '../client/index.ts'
import { StartError } from '../errors.ts'
import { parseResumePoint } from '../event.ts'
import {
  type Credentials,
  callerOptions,
  callService,
  credentialsOf,
  serviceUrl,
  unauthorized,
  unreachable,
} from './caller.ts'
import { type Command, EXIT, parse, type Terminal, UsageError } from './command.ts'
import { Printer } from './event-printer.ts'
import { watchPipeReader } from './pipe-reader.ts'

const TRANSPORTS = ['auto', 'websocket', 'sse', 'poll'] as const

const HELP = `Usage: glimpse tail <user> [options]
       glimpse tail --token <jwt> [options]
       glimpse tail --all [options]

Follows a user's stream until Ctrl-C and prints each event. After a lost connection it reconnects by itself, on
whichever transport works, and skips no event. Connection messages go to stderr.

  --all                follow the streams of all users, from now on, each event with its user. It works on DATABASE_URL
                       and needs no service; the role needs glimpse grants --for service. Only --type, --count and --json
                       go with it
  --after <cursor>     begin after this event; 0: with the oldest kept; now: with the next.
                       now by default, 0 with --no-follow
  --no-follow          print the events there are and end
  --type <type>        print only events of this type; several with commas between
  --count <n>          end after n events
  --no-retry           end when the connection is lost or cannot be made, with exit code 5
  --json               print one event per line as JSON, as the service sends it, and stream.reset among them
  --transport <name>   ${TRANSPORTS.join(', ')}; auto by default
  --token <jwt>        use this token; without a user, GLIMPSE_TOKEN is used if it is set
  --url <url>          the service; otherwise GLIMPSE_URL, otherwise http://HOST:PORT

Examples:
  glimpse tail alice
  glimpse tail alice --after 0 --no-follow --json | jq .data
  glimpse tail alice --type story.reacted --count 1
  glimpse tail --all --json | jq -r .user

Exit codes: 0 stopped with Ctrl-C, by --count or --no-follow, or because the output pipe closed, 1 a problem here,
2 called wrongly, 3 the service refused, 4 it did not accept the token, 5 it cannot be reached.
`

export const tail: Command = {
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, {
      ...callerOptions,
      after: { type: 'string' },
      count: { type: 'string' },
      type: { type: 'string' },
      'no-follow': { type: 'boolean' },
      'no-retry': { type: 'boolean' },
      json: { type: 'boolean' },
      transport: { type: 'string', default: 'auto' },
      all: { type: 'boolean' },
    })
    const [user, ...more] = positionals
    if (more.length > 0) throw new UsageError('name one user')
    if (values.all) return tailAll(values, user, terminal)
    const transport = TRANSPORTS.find((name) => name === values.transport)
    if (transport === undefined) throw new UsageError(`--transport must be one of ${TRANSPORTS.join(', ')}`)
    const after = afterOf(values.after ?? (values['no-follow'] ? '0' : 'now'))
    const printer = printerOf(terminal, values)
    const url = serviceUrl(terminal.environment, values.url)
    const credentials = await credentialsOf(terminal.environment, {
      user,
      token: values.token,
      missing: 'missing user. Usage: glimpse tail <user>, or glimpse tail --token <jwt>',
    })
    const ended = new AbortController()
    const signal = AbortSignal.any([terminal.interrupted, ended.signal])
    const unwatch = watchPipeReader(() => ended.abort())
    const cursor = values['no-follow']
      ? await readOnce({ url, credentials, after, printer, signal })
      : await follow({ url, credentials, after, printer, signal, transport, retry: !values['no-retry'] })
    unwatch()
    const who = user === undefined ? '' : ` ${user}`
    if (cursor !== undefined) printer.say(`To resume later: glimpse tail${who} --after ${cursor}`)
    return EXIT.ok
  },
}

type Values = Readonly<Record<string, string | boolean | undefined>>

function printerOf(terminal: Terminal, { json, type, count }: Values): Printer {
  return new Printer(terminal, { json: json === true, types: typesOf(type), count: countOf(count) })
}

async function tailAll(values: Values, user: string | undefined, terminal: Terminal): Promise<number> {
  if (user !== undefined) throw new UsageError('name a user, or give --all')
  for (const option of ['after', 'no-follow', 'no-retry', 'token', 'url'])
    if (values[option] !== undefined) throw new UsageError(`--${option} does not go with --all`)
  const ended = new AbortController()
  const signal = AbortSignal.any([terminal.interrupted, ended.signal])
  const printer = printerOf(terminal, values)
  const unwatch = watchPipeReader(() => ended.abort())
  try {
    // Loaded here: the service's modules take half a second that following one user need not wait for.
    const { followAll } = await import('./tail-all.ts')
    await followAll(terminal.environment, printer, signal)
  } finally {
    unwatch()
  }
  return EXIT.ok
}

interface Reading {
  readonly url: string
  readonly credentials: Credentials
  readonly after: string
  readonly printer: Printer
  readonly signal: AbortSignal
}

/** Prints the present events, page by page; resolves to the cursor after the last one. */
async function readOnce({ url, credentials, after, printer, signal }: Reading): Promise<string | undefined> {
  let cursor = after
  for (;;) {
    // Without a cursor, a poll begins now.
    const query = cursor === 'now' ? '' : `?after=${encodeURIComponent(cursor)}&limit=1000`
    const page = (await callService(`${url}/events${query}`, credentials)) as unknown as Page
    if (page.reset !== null) printer.reset({ ...page.reset, cursor: page.cursor })
    for (const event of page.events) {
      if (signal.aborted) return cursor
      if (await printer.event(event)) return event.id
      cursor = event.id
    }
    cursor = page.cursor
    if (!page.has_more || signal.aborted) return cursor
  }
}

interface Page {
  readonly events: readonly GlimpseEvent[]
  readonly cursor: string
  readonly has_more: boolean
  readonly reset: { readonly reason: string; readonly oldest: number } | null
}

/** Follows the stream until the end is requested; resolves to the cursor after the last event. */
async function follow({
  url,
  credentials,
  after,
  printer,
  signal,
  transport,
  retry,
}: Reading & { readonly transport: (typeof TRANSPORTS)[number]; readonly retry: boolean }): Promise<
  string | undefined
> {
  let lost: Error | undefined
  const stream = connect({
    url,
    // The client must know that a given token cannot be renewed.
    ...(credentials.fixed === undefined
      ? { getToken: () => credentials.getToken() }
      : { token: credentials.fixed }),
    transport,
    after,
    WebSocket,
    onEvent: async (event) => {
      if (await printer.event(event)) stream.close()
    },
    onReset: (reset) => printer.reset(reset),
    onGap: ({ expected, received, lost: isLost }) =>
      printer.say(
        `event ${received} came instead of ${expected}${isLost ? '; the events between are lost' : '; reading again'}`,
      ),
    onState: (state) => {
      // Without a retry the fault is the command's last line.
      if (retry || state.name !== 'waiting' || state.reason === 'starting') return printer.state(state, url)
      lost ??= unreachable(url, state.reason)
      stream.close()
    },
    signal,
  })
  await stream.done.catch((error: unknown) => {
    if (!(error instanceof StreamError)) throw error
    if (error.reason === 'unauthorized') throw unauthorized(error.message, credentials)
    throw new StartError(error.message, { cause: error })
  })
  if (lost !== undefined) throw lost
  return stream.cursor
}

/** @throws UsageError unless it is `now`, `0` or a cursor */
function afterOf(value: string | boolean): string {
  const text = String(value)
  if (text === 'now') return text
  const { from } = parseResumePoint(text)
  if (from === 'oldest' || from === 'cursor') return text
  throw new UsageError("--after must be now, 0, or a cursor as an event's id has it")
}

function typesOf(value: string | boolean | undefined): ReadonlySet<string> | undefined {
  if (value === undefined) return undefined
  const types = String(value).split(',')
  if (!types.every((type) => /^\w+(?:[.-]\w+)*$/.test(type)))
    throw new UsageError('--type must be an event type such as story.viewed, or several with commas between')
  return new Set(types)
}

function countOf(text: string | boolean | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d{0,14}$/.test(String(text))) throw new UsageError('--count must be a whole number from 1 on')
  return Number(text)
}
