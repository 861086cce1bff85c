import { GlimpseError, StartError } from '../errors.ts'
import { UsageError } from './command.ts'

/** Whether an error says in one line what to mend; anything else is a surprise. */
export function isClear(error: unknown): error is Error {
  return error instanceof StartError || error instanceof GlimpseError || error instanceof UsageError
}
