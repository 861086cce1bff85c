import { format } from 'node:util'
import type { Logger } from './log.ts'

const CONSOLE = ['debug', 'info', 'log', 'warn', 'error'] as const

/**
 * Logs what libraries and Node itself would write to standard output and standard error as bare text (the drivers of
 * Postgres do, and so do deprecation warnings): who collects the log expects a JSON object on each line.
 */
export function logStrayOutput(log: Logger): void {
  for (const name of CONSOLE)
    console[name] = (...parts) => log.warn({ said: format(...parts) }, 'a library wrote to standard error')
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => log.warn({ name, said: message }, 'Node warned'))
}
