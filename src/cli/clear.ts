import { GlimpseError, StartError } from '../errors.ts'
import { CallError, UsageError } from './command.ts'

/** Whether an error says in one line what to mend; anything else is a surprise. */
export function isClear(error: unknown): error is Error {
  return [StartError, GlimpseError, UsageError, CallError].some((kind) => error instanceof kind)
}
