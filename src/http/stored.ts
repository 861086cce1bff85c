import { asGlimpseError } from '../postgres/failure.ts'
import type { Context } from './context.ts'

/** Runs a statement outside of a batch: it counts as waiting (Gate) and rejects with a GlimpseError. */
export function stored<Result>({ app }: Context, statement: () => Promise<Result>): Promise<Result> {
  return app.waiting.pass(statement).catch((error) => {
    throw asGlimpseError(error)
  })
}
