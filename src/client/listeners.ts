type Handler = (value: never) => unknown

/** The handlers by what they listen to. A function that is added twice is called twice. */
export class Listeners {
  readonly #handlers = new Map<string, Set<{ readonly call: Handler }>>()

  /** @returns what removes it again */
  add(type: string, call: Handler): () => void {
    const registration = { call }
    const handlers = this.#handlers.get(type) ?? new Set()
    this.#handlers.set(type, handlers.add(registration))
    return () => void handlers.delete(registration)
  }

  /** In the order in which they were added. */
  of(...types: string[]): ((value: unknown) => unknown)[] {
    return types.flatMap((type) =>
      [...(this.#handlers.get(type) ?? [])].map(({ call }) => call as (value: unknown) => unknown),
    )
  }

  /** Calls all of them without waiting; errors and rejections go to `failed`. */
  tell(type: string, value: unknown, failed: (error: unknown) => void): void {
    for (const call of this.of(type)) {
      try {
        Promise.resolve(call(value)).catch(failed)
      } catch (error) {
        failed(error)
      }
    }
  }
}
