#!/usr/bin/env node
import { loadDotenv } from '../dotenv.ts'
import { INFO } from '../http/documents/info.ts'
import { isClear } from './clear.ts'
import { type Command, EXIT, paint, type Terminal, UsageError } from './command.ts'
import { doctor } from './doctor/command.ts'
import { migrate } from './migrate.ts'
import { nearest } from './nearest.ts'
import { send } from './send.ts'
import { serve } from './serve.ts'
import { tail } from './tail.ts'
import { token } from './token.ts'

/** The edge of the command line: the environment, the terminal, signals and the exit code. */

const COMMANDS: readonly Command[] = [serve, migrate, token, tail, send, doctor]

const HELP = `Glimpse ${INFO.version}: tells a story's author, the moment it happens, that somebody viewed or reacted to it.

Usage: glimpse <command> [options]

${COMMANDS.map(({ name, summary }) => `  ${name.padEnd(9)}${summary}`).join('\n')}

glimpse <command> --help says more about each. Variables are read from the environment and from .env.
Exit codes: 0 done, 1 a fault, 2 called wrongly.
`

async function main([name, ...rest]: readonly string[], terminal: Terminal): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const about = COMMANDS.find((command) => command.name === rest[0])
    ;(name === undefined ? terminal.stderr : terminal.stdout).write(about?.help ?? HELP)
    return name === undefined ? EXIT.usage : EXIT.ok
  }
  if (name === '--version' || name === '-V') {
    terminal.stdout.write(`${INFO.version}\n`)
    return EXIT.ok
  }
  const command = COMMANDS.find((one) => one.name === name)
  if (command === undefined) {
    const guess = nearest(
      name,
      COMMANDS.map((one) => one.name),
    )
    const hint = guess === undefined ? 'glimpse --help lists the commands' : `did you mean ${guess}?`
    return refuse(terminal, 'glimpse', new UsageError(`there is no command ${name}; ${hint}`))
  }
  if (rest.includes('--help') || rest.includes('-h')) {
    terminal.stdout.write(command.help)
    return EXIT.ok
  }
  try {
    loadDotenv()
    return await command.run(rest, terminal)
  } catch (error) {
    return refuse(terminal, name, error)
  }
}

/** One line, never a stack. */
function refuse(terminal: Terminal, name: string, error: unknown): number {
  const usage = error instanceof UsageError
  const message = isClear(error) ? error.message : `unexpected: ${describe(error)}`
  terminal.stderr.write(`${paint(terminal.stderr, 'red', `${name}:`)} ${message}\n`)
  if (usage && name !== 'glimpse') terminal.stderr.write(`glimpse ${name} --help says how it is used\n`)
  return usage ? EXIT.usage : EXIT.fault
}

function describe(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException
  return (message || code || String(error)).split('\n')[0] ?? ''
}

let interruption: AbortController | undefined
const terminal: Terminal = {
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  get interrupted() {
    if (interruption === undefined) {
      const controller = new AbortController()
      interruption = controller
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => controller.abort())
    }
    return interruption.signal
  },
}
// `glimpse tail alice | head` closes our output early: not a fault.
process.stdout.on('error', () => process.exit(EXIT.ok))
process.exitCode = await main(process.argv.slice(2), terminal)
