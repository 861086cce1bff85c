import { format } from 'node:util'
import type { Logger } from './log.ts'

const CONSOLE = ['debug', 'info', 'log', 'warn', 'error'] as const

/**
 * Logs the bare text that libraries and Node write to standard output and standard error (the Postgres drivers and
 * deprecation warnings do), because log collectors expect a JSON object on each line.
 */
export function logStrayOutput(log: Logger): void {
  for (const name of CONSOLE)
    console[name] = (...parts) => log.warn({ said: format(...parts) }, 'a library wrote to standard error')
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => log.warn({ name, said: message }, 'Node warned'))
}
