import { INFO } from '../http/documents/info.ts'
import { isClear } from './clear.ts'
import { CallError, type Command, EXIT, paint, type Terminal, UsageError } from './command.ts'
import { createCompletion } from './completion.ts'
import { nearest } from './nearest.ts'

/** Commands are loaded when called: the service's modules take half a second, and `glimpse token` does not need them. */
const COMMANDS = new Map<string, { readonly summary: string; readonly load: () => Promise<Command> }>([
  ['serve', { summary: 'run the service', load: async () => (await import('./serve.ts')).serve }],
  [
    'relay',
    {
      summary: 'publish to NATS what Postgres notifies',
      load: async () => (await import('./relay.ts')).relay,
    },
  ],
  [
    'migrate',
    {
      summary: 'bring the database schema up to date',
      load: async () => (await import('./migrate.ts')).migrate,
    },
  ],
  [
    'token',
    { summary: 'print a development token for a user', load: async () => (await import('./token.ts')).token },
  ],
  [
    'tail',
    { summary: "follow a user's events in the terminal", load: async () => (await import('./tail.ts')).tail },
  ],
  [
    'send',
    {
      summary: 'write a story, a view or a reaction as a user',
      load: async () => (await import('./send.ts')).send,
    },
  ],
  [
    'new-history',
    {
      summary: 'after a restore: have every client reload its state',
      load: async () => (await import('./new-history.ts')).newHistory,
    },
  ],
  [
    'online',
    {
      summary: 'print which users are connected',
      load: async () => (await import('./online.ts')).online,
    },
  ],
  [
    'disconnect',
    {
      summary: 'end all connections of a user',
      load: async () => (await import('./disconnect.ts')).disconnect,
    },
  ],
  [
    'export',
    {
      summary: 'print all that is kept about a user',
      load: async () => (await import('./export.ts')).exportUser,
    },
  ],
  ['forget', { summary: 'erase a user', load: async () => (await import('./forget.ts')).forget }],
  [
    'grants',
    {
      summary: 'print the SQL for the rights that a task needs',
      load: async () => (await import('./grants.ts')).grants,
    },
  ],
  [
    'doctor',
    {
      summary: 'find what is misconfigured, and how to fix it',
      load: async () => (await import('./doctor/command.ts')).doctor,
    },
  ],
  [
    'status',
    {
      summary: 'ask a running service whether it is ready',
      load: async () => (await import('./status.ts')).status,
    },
  ],
  [
    'size',
    {
      summary: 'estimate what a load takes',
      load: async () => (await import('./size.ts')).size,
    },
  ],
  ['version', { summary: 'print the version', load: async () => (await import('./version.ts')).version }],
  ['completion', { summary: 'print a completion script for a shell', load: async () => completion }],
])

const completion = createCompletion(async () => {
  const helps = [...COMMANDS].map(async ([name, { load }]) => [name, (await load()).help] as const)
  return new Map(await Promise.all(helps))
})

const HELP = `Glimpse ${INFO.version} notifies a story's author at once when somebody views it or reacts to it.

Usage: glimpse <command> [options]

${[...COMMANDS].map(([name, { summary }]) => `  ${name.padEnd(13)}${summary}`).join('\n')}

glimpse <command> --help explains each, with examples. Variables are read from the environment and from .env;
GLIMPSE_URL is the service that is called, and GLIMPSE_TOKEN the token for it.

Exit codes: 0 done, 1 a problem, 2 called wrongly, 3 refused by the service, 4 the service did not accept the token,
5 the service cannot be reached.
`

/**
 * `glimpse` with these words.
 *
 * @returns the exit code
 */
export async function runProgram([name, ...rest]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === undefined) {
    terminal.stderr.write(HELP)
    return EXIT.usage
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    const about = await COMMANDS.get(rest[0] ?? '')?.load()
    terminal.stdout.write(about?.help ?? HELP)
    return EXIT.ok
  }
  if (name === '--version' || name === '-V') {
    terminal.stdout.write(`${INFO.version}\n`)
    return EXIT.ok
  }
  const command = await COMMANDS.get(name)?.load()
  if (command === undefined) {
    const guess = nearest(name, [...COMMANDS.keys()])
    const hint = guess === undefined ? 'glimpse --help lists the commands' : `did you mean ${guess}?`
    return refuse(terminal, 'glimpse', new UsageError(`there is no command ${name}; ${hint}`))
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.stdout.write(command.help)
    return EXIT.ok
  }
  try {
    return await command.run(rest, terminal)
  } catch (error) {
    return refuse(terminal, name, error)
  }
}

/** Prints one line, without a stack. */
function refuse(terminal: Terminal, name: string, error: unknown): number {
  const usage = error instanceof UsageError
  const message = isClear(error) ? error.message : `unexpected: ${describe(error)}`
  terminal.stderr.write(`${paint(terminal.stderr, 'red', `${name}:`)} ${message}\n`)
  if (usage && name !== 'glimpse') terminal.stderr.write(`See: glimpse ${name} --help\n`)
  if (error instanceof CallError) return error.exit
  return usage ? EXIT.usage : EXIT.problem
}

function describe(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException
  return (message || code || String(error)).split('\n')[0] ?? ''
}
