import { randomBytes } from 'node:crypto'
import { type Logger, pino } from 'pino'
import { humanLine } from './human-line.ts'
import { LogDestination, standardOutput } from './log-destination.ts'
import { loggedError } from './logged-error.ts'
import { Repetitions } from './repetitions.ts'

export type { Logger }

/** pino's level number of a warning: lines from here on report problems. */
const WARN = 40

/**
 * A pino logger that writes JSON lines to standard output, each with the instance's name; a terminal gets readable lines.
 * Callers never pass it anything that may hold a token. Personal data in errors is removed here (logged-error.ts).
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

/** Readable lines, if standard output is a terminal. */
function terminal(): { write(line: string): void } | undefined {
  const { stdout } = process
  if (!stdout.isTTY) return undefined
  return { write: (json) => void stdout.write(humanLine(json, stdout.hasColors())) }
}

/** This instance's name, as in log lines, in the presence tables and in the answer of `GET /me/connections`. */
export function instanceOf(log: Logger): string {
  return String(log.bindings().instance)
}

/** Distinguishes problems with the same log message by the error's code or name; its text would make too many kinds. */
function kindOf(about: unknown): string {
  const { err, route = '' } = (about ?? {}) as { err?: { code?: unknown; name?: unknown }; route?: unknown }
  return `${route} ${err?.code ?? err?.name ?? ''}`
}
