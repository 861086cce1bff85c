import { randomBytes } from 'node:crypto'
import { type Logger, pino } from 'pino'
import { humanLine } from './human-line.ts'
import { LogDestination, standardOutput } from './log-destination.ts'
import { loggedError } from './logged-error.ts'
import { Repetitions } from './repetitions.ts'

export type { Logger }

/** Level numbers of pino from which on a line tells of a fault. */
const WARN = 40

/**
 * A pino logger that writes JSON lines to standard output, each with the instance's name, or lines for people where that is
 * a terminal. Nothing that may hold a token is ever handed to it; what errors carry along is taken out of them here (logged-error.ts).
 */
export function createLogger(level: string, destination = terminal() ?? standardOutput()): Logger {
  const log = create(level, destination)
  if (destination instanceof LogDestination) {
    destination.onRecovered = (lost) => log.warn({ lost }, 'the log could not be written for a time')
  }
  return log
}

function create(level: string, destination: { write(line: string): void }): Logger {
  const repetitions = new Repetitions()
  return pino(
    {
      level,
      base: { instance: randomBytes(6).toString('hex') },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: loggedError },
      hooks: {
        logMethod(parts, write, number) {
          if (number < WARN) return write.apply(this, parts)
          const [about, message] = parts as unknown as [unknown, string?]
          const text = message ?? String(about)
          repetitions.pass(`${number} ${text} ${kindOf(about)}`, (repeated) => {
            if (repeated === undefined) write.apply(this, parts)
            else write.call(this, { repeated }, text)
          })
        },
      },
    },
    destination,
  )
}

/** Lines for people, where somebody at a terminal reads them. */
function terminal(): { write(line: string): void } | undefined {
  const { stdout } = process
  if (!stdout.isTTY) return undefined
  return { write: (json) => void stdout.write(humanLine(json, stdout.hasColors())) }
}

/** The name of this instance among its log lines, the presence of users and the answer of `GET /me/connections`. */
export function instanceOf(log: Logger): string {
  return String(log.bindings().instance)
}

/** What tells two faults with the same message apart; their texts would be too many. */
function kindOf(about: unknown): string {
  const { err, route = '' } = (about ?? {}) as { err?: { code?: unknown; name?: unknown }; route?: unknown }
  return `${route} ${err?.code ?? err?.name ?? ''}`
}
