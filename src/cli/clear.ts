import { GlimpseError, StartError } from '../errors.ts'
import { CallError, UsageError } from './command.ts'

/** Whether an error says in one line what to fix; any other error is unexpected. */
export function isClear(error: unknown): error is Error {
  return [StartError, GlimpseError, UsageError, CallError].some((kind) => error instanceof kind)
}
