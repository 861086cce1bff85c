import { hasPage } from './page-lifecycle.ts'
import type { ConnectOptions, Transport } from './types.ts'

/** A transport that has worked before is given up only after this many failures in a row. */
const PATIENCE = 2

/**
 * Chooses the transport to try next: the best that is not known to fail on this network. It remembers for the browser's
 * session which one worked, so that a page behind a proxy that blocks streams does not find that out at each load.
 */
export class TransportFallback {
  readonly #transports: readonly Transport[]
  readonly #key: string
  readonly #failures = new Map<Transport, number>()
  readonly #worked = new Set<Transport>()

  /** @param base of the service */
  constructor(wanted: ConnectOptions['transport'], hasWebSocket: boolean, base: URL) {
    // WebSocket first: over HTTP/1.1 a browser opens six connections to a host, and six tabs with SSE would take them all.
    const all: readonly Transport[] = hasWebSocket ? ['websocket', 'sse', 'poll'] : ['sse', 'poll']
    const transports = wanted === undefined || wanted === 'auto' ? all : [wanted]
    this.#transports = transports
    this.#key = `glimpse ${base}`
    const remembered = transports.indexOf(this.#memory((storage) => storage.getItem(this.#key)) as Transport)
    for (const better of transports.slice(0, Math.max(remembered, 0))) this.failed(better)
  }

  get current(): Transport {
    const standing = this.#transports.find(
      (transport) => (this.#failures.get(transport) ?? 0) < (this.#worked.has(transport) ? PATIENCE : 1),
    )
    if (standing === undefined) this.#failures.clear()
    return standing ?? this.#transports[0] ?? 'poll'
  }

  /** Whether there is more than one transport to choose from. */
  get hasOthers(): boolean {
    return this.#transports.length > 1
  }

  worked(transport: Transport): void {
    this.#worked.add(transport)
    this.#failures.delete(transport)
    if (this.hasOthers) this.#memory((storage) => storage.setItem(this.#key, transport))
  }

  /** The transport failed although the service can be reached. */
  failed(transport: Transport): void {
    this.#failures.set(transport, (this.#failures.get(transport) ?? 0) + 1)
  }

  /** The network may have changed: the better transports are tried again. */
  forgive(): void {
    this.#failures.clear()
  }

  /** undefined in a page without storage, which then remembers nothing. */
  #memory<Result>(use: (storage: Storage) => Result): Result | undefined {
    try {
      return hasPage() ? use(sessionStorage) : undefined
    } catch {
      return undefined
    }
  }
}
