import {
  type Credentials,
  callerOptions,
  callService,
  credentialsOf,
  type Json,
  serviceUrl,
} from './caller.ts'
import { type Command, EXIT, type Parsed, parse, UsageError } from './command.ts'
import { parseDuration } from './duration.ts'

const HELP = `Usage: glimpse send story [<text>] --as <user> [--expires-in <time>]
       glimpse send view <story> --as <user>
       glimpse send reaction <story> <emoji> --as <user>

Writes to a running service over HTTP, as a user would. For a story, its id is printed.

  --as <user>           make a development token for this user, as glimpse token does
  --token <jwt>         use this token; without --as, GLIMPSE_TOKEN is used if it is set
  --url <url>           the service; otherwise GLIMPSE_URL, otherwise http://HOST:PORT
  --expires-in <time>   when the story ends, such as 45s, 30m, 1h or 1d; a day by default, at most 7 days
  --json                print the service's answer as it is

Examples:
  STORY=$(glimpse send story "Fog over the harbour" --as alice)
  glimpse send view $STORY --as bob
  glimpse send reaction $STORY 👏 --as bob

Exit codes: 0 written, 1 a problem here, 2 called wrongly, 3 the service refused, 4 it did not accept the token,
5 it cannot be reached.
`

/** The longest lifetime of a story. The service checks it too; this gives a quick answer. */
const STORY_MAX_SECONDS = 604_800

interface Write {
  readonly path: string
  readonly body?: object
  /** The line to print for the answer. */
  readonly line: (answer: Json, isOwnStory: () => Promise<boolean>) => Promise<string>
}

export const send: Command = {
  help: HELP,
  async run(args, { environment, stdout }) {
    const { values, positionals } = parse(args, {
      ...callerOptions,
      as: { type: 'string' },
      'expires-in': { type: 'string' },
      json: { type: 'boolean' },
    })
    const write = writeOf(positionals, values)
    const url = serviceUrl(environment, values.url)
    const credentials = await credentialsOf(environment, {
      user: values.as,
      token: values.token,
      missing: 'missing user: name one with --as, or give a token with --token or GLIMPSE_TOKEN',
    })
    const { path, body, line } = write
    const answer = await callService(`${url}${path}`, credentials, { method: 'POST', body })
    const text = values.json
      ? JSON.stringify(answer)
      : await line(answer, () => isOwnStory(url, credentials, answer))
    stdout.write(`${text}\n`)
    return EXIT.ok
  },
}

function writeOf([kind, ...rest]: readonly string[], values: Parsed['values']): Write {
  const [first, second] = rest
  const expires = values['expires-in']
  if (expires !== undefined && kind !== 'story') throw new UsageError('--expires-in is for a story')
  switch (kind) {
    case 'story': {
      if (rest.length > 1) throw new UsageError('put the text of the story in quotes')
      const expires_in =
        expires === undefined ? undefined : parseDuration('--expires-in', String(expires), STORY_MAX_SECONDS)
      return { path: '/stories', body: { text: first, expires_in }, line: async ({ id }) => String(id) }
    }
    case 'view':
      if (first === undefined || rest.length > 1) throw new UsageError('name one story to view')
      return {
        path: `/stories/${encodeURIComponent(first)}/view`,
        line: ({ recorded }, isOwn) => outcome('viewed', recorded, isOwn),
      }
    case 'reaction':
      if (first === undefined || second === undefined || rest.length > 2)
        throw new UsageError('name a story and an emoji')
      return {
        path: `/stories/${encodeURIComponent(first)}/reactions`,
        body: { emoji: second },
        line: ({ emoji, recorded }, isOwn) => outcome(`reacted ${emoji}`, recorded, isOwn),
      }
    default:
      throw new UsageError('say what to send: story, view or reaction')
  }
}

async function outcome(done: string, recorded: unknown, isOwn: () => Promise<boolean>): Promise<string> {
  if (recorded !== true) return `already ${done}: no new event`
  return (await isOwn()) ? `${done}; no event follows, because the story is your own` : done
}

/** Whether the caller is the author. Asked only for a terminal, whose user would wait for an event in vain. */
async function isOwnStory(url: string, credentials: Credentials, answer: Json): Promise<boolean> {
  const user = answer.viewer_id ?? answer.user_id
  const path = `/stories/${encodeURIComponent(String(answer.story_id))}`
  const story = await callService(`${url}${path}`, credentials).catch(() => undefined)
  return story !== undefined && story.author_id === user
}
