import { asGlimpseError } from '../postgres/failure.ts'
import type { Context } from './context.ts'

/** Statements outside a batch are bounded as those inside are, and fail the same way: with data, not with SQL. */
export function stored<Result>({ app }: Context, statement: () => Promise<Result>): Promise<Result> {
  return app.waiting.pass(statement).catch((error) => {
    throw asGlimpseError(error)
  })
}
