import type postgres from 'postgres'

/** A tagged template, for statements and for fragments of them. A statement is sent where it is awaited. */
export type Statement = <Rows extends readonly (object | undefined)[] = postgres.Row[]>(
  strings: TemplateStringsArray,
  ...values: readonly postgres.ParameterOrFragment<never>[]
) => postgres.PendingQuery<Rows>

/** A statement, or a fragment of one, before anybody awaits it. */
export class Lazy implements PromiseLike<unknown> {
  readonly #run: () => Promise<unknown>
  readonly #strings: TemplateStringsArray
  readonly #values: readonly unknown[]
  #result: Promise<unknown> | undefined

  constructor(strings: TemplateStringsArray, values: readonly unknown[], run: () => Promise<unknown>) {
    this.#strings = strings
    this.#values = values
    this.#run = run
  }

  /** As a part of another statement. */
  fragmentFor(sql: postgres.Sql): unknown {
    const values = this.#values.map((value) => (value instanceof Lazy ? value.fragmentFor(sql) : value))
    return sql(this.#strings, ...(values as postgres.ParameterOrFragment<never>[]))
  }

  // biome-ignore lint/suspicious/noThenProperty: a statement is sent where it is awaited, as the driver's own are.
  then<A = unknown, B = never>(
    fulfilled?: ((value: unknown) => A | PromiseLike<A>) | null,
    rejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#result ??= this.#run()
    return this.#result.then(fulfilled, rejected)
  }

  catch<B = never>(rejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<unknown> {
    return this.then(undefined, rejected)
  }

  finally(settled?: (() => void) | null): Promise<unknown> {
    return this.then().finally(settled)
  }
}
