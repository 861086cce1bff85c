import { StartError } from '../errors.ts'
import { callerOptions, serviceUrl, tokenOf } from './caller.ts'
import { type Command, EXIT, type Parsed, parse, printable, type Terminal, UsageError } from './command.ts'

const HELP = `Usage: glimpse send story [<text>] --as <user> [--expires-in <seconds>]
       glimpse send view <story> --as <user>
       glimpse send reaction <story> <emoji> --as <user>

Writes to a running service over HTTP, as a user would. For a story, its id is printed:

  STORY=$(glimpse send story "Fog over the harbour" --as alice)
  glimpse send view $STORY --as bob
  glimpse send reaction $STORY 👏 --as bob

  --as <user>        a development token is made for this user, as glimpse token does
  --token <jwt>      a token of your own, instead of --as
  --url <url>        the service; http://HOST:PORT of the variables unless given
  --expires-in <s>   when the story ends; after a day unless given
  --json             print the service's answer as it is

Exit codes: 0 written, 1 refused or not reached, 2 called wrongly.
`

interface Write {
  readonly path: string
  readonly body?: object
  /** What is printed of the answer. */
  readonly line: (answer: Readonly<Record<string, unknown>>) => string
}

export const send: Command = {
  help: HELP,
  async run(args, terminal) {
    const { values, positionals } = parse(args, {
      ...callerOptions,
      as: { type: 'string' },
      'expires-in': { type: 'string' },
      json: { type: 'boolean' },
    })
    const write = writeOf(positionals, values)
    const token = await tokenOf(terminal.environment, {
      user: values.as,
      token: values.token,
      option: '--as',
    })
    const answer = await post(
      new URL(`${serviceUrl(terminal.environment, values.url)}${write.path}`),
      token(),
      write.body,
    )
    print(terminal, values.json ? JSON.stringify(answer) : write.line(answer))
    return EXIT.ok
  },
}

function writeOf([kind, ...rest]: readonly string[], values: Parsed['values']): Write {
  const [first, second] = rest
  switch (kind) {
    case 'story': {
      if (rest.length > 1) throw new UsageError('put the text of the story in quotes')
      const expires = values['expires-in']
      return {
        path: '/stories',
        body: {
          ...(first === undefined ? {} : { text: first }),
          ...(expires === undefined ? {} : { expires_in: Number(expires) }),
        },
        line: ({ id }) => String(id),
      }
    }
    case 'view':
      if (first === undefined || rest.length > 1) throw new UsageError('name one story to view')
      return {
        path: `/stories/${encodeURIComponent(first)}/view`,
        line: (answer) => outcome('viewed', answer),
      }
    case 'reaction':
      if (first === undefined || second === undefined || rest.length > 2)
        throw new UsageError('name a story and an emoji')
      return {
        path: `/stories/${encodeURIComponent(first)}/reactions`,
        body: { emoji: second },
        line: (answer) => outcome(`reacted ${answer.emoji}`, answer),
      }
    default:
      throw new UsageError('say what to send: story, view or reaction')
  }
}

function outcome(done: string, { recorded }: Readonly<Record<string, unknown>>): string {
  return recorded === true ? done : `${done} (it was there already: no new event)`
}

async function post(url: URL, token: Promise<string>, body?: object): Promise<Record<string, unknown>> {
  let response: Response
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    })
  } catch (error) {
    throw unreachable(url, error)
  }
  const answer = (await response.json().catch(() => ({}))) as Record<string, unknown>
  if (response.ok) return answer
  throw new StartError(
    `${response.status} ${answer.title ?? ''}: ${printable(String(answer.detail ?? answer.type ?? ''))}`,
  )
}

/** What fetch says of a service that is not there; any other error stays itself. */
function unreachable(url: URL, error: unknown): unknown {
  const { name, cause } = error as Error
  if (name !== 'TypeError' && name !== 'TimeoutError') return error
  const { code, message } = (cause ?? error) as NodeJS.ErrnoException
  const reason = code ?? message
  return new StartError(
    `${url.origin} cannot be reached (${reason}); is the service running? glimpse serve starts it`,
  )
}

function print({ stdout }: Terminal, text: string): void {
  stdout.write(`${text}\n`)
}
