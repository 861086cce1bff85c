import type { Transport } from './types.ts'

/** A transport that has worked before is given up only after this many failures in a row. */
const PATIENCE = 2

/** Which transport to try next: the best of those that are not known to fail on this way. */
export class TransportFallback {
  readonly #transports: readonly Transport[]
  readonly #failures = new Map<Transport, number>()
  readonly #worked = new Set<Transport>()

  /** @param transports the best first */
  constructor(transports: readonly Transport[]) {
    this.#transports = transports
  }

  get current(): Transport {
    const [first] = this.#transports
    const standing = this.#transports.find(
      (transport) => !this.#failures.has(transport) || this.#isPatientWith(transport),
    )
    if (standing === undefined) this.#failures.clear()
    return standing ?? first ?? 'poll'
  }

  /** Whether there is a choice at all. */
  get hasOthers(): boolean {
    return this.#transports.length > 1
  }

  worked(transport: Transport): void {
    this.#worked.add(transport)
    this.#failures.delete(transport)
  }

  /** It did not get through although the service can be reached. */
  failed(transport: Transport): void {
    this.#failures.set(transport, (this.#failures.get(transport) ?? 0) + 1)
  }

  /** The way may have changed: the better ones are tried again. */
  forgive(): void {
    this.#failures.clear()
  }

  #isPatientWith(transport: Transport): boolean {
    return this.#worked.has(transport) && (this.#failures.get(transport) ?? 0) < PATIENCE
  }
}
