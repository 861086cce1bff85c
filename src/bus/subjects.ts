import { createHash } from 'node:crypto'

/** 22 characters of base64url: 132 bits, which nobody can find a second user for. */
const DIGEST_CHARACTERS = 22
/** Digests that are kept, so that a busy user's is computed once. */
const KEPT = 50_000

/**
 * The subjects of one deployment in NATS. Users and instances are named by digest: in a subject a space is an error, `*` and
 * `>` mean others too, and a long one ends the connection.
 */
export class Subjects {
  /** Every instance is to read the heads of its users. */
  readonly gap: string
  /** Events wait in the queue, which every instance is to look at. */
  readonly queue: string
  /** The relay shows that it works. */
  readonly beat: string
  readonly #namespace: string
  #digests = new Map<string, string>()

  /** @param namespace one for each database that shares the NATS servers */
  constructor(namespace: string) {
    this.#namespace = namespace
    this.gap = `${namespace}.gap`
    this.queue = `${namespace}.queue`
    this.beat = `${namespace}.beat`
  }

  /** What one user's stream is told on. */
  user(user: string): string {
    return `${this.#namespace}.u.${this.#digest(user)}`
  }

  /** What one instance is called on, and its canaries come back on. */
  instance(instance: string): string {
    return `${this.#namespace}.i.${this.#digest(instance)}`
  }

  #digest(name: string): string {
    let digest = this.#digests.get(name)
    if (digest === undefined) {
      digest = createHash('sha256').update(name).digest('base64url').slice(0, DIGEST_CHARACTERS)
      if (this.#digests.size === KEPT) this.#digests = new Map()
      this.#digests.set(name, digest)
    }
    return digest
  }
}
