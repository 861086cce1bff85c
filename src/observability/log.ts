import { type Logger, pino } from 'pino'

export type { Logger }

/** A pino logger that writes JSON lines to standard output. Nothing that may hold a token is ever handed to it. */
export function createLogger(level: string): Logger {
  return pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  })
}
