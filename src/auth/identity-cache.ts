import { hash } from 'node:crypto'
import type { Identity } from './claims.ts'

/**
 * Remembers verified tokens, `limit` of them at most and the recently used ones first.
 *
 * Keys are SHA-256 digests: no two tokens share one, a heap dump shows no credentials, and an entry stays small however
 * long its token is. (A Map hashes its string keys anyway: against the token as the key a digest costs 0.2 µs more.)
 *
 * Two halves instead of a linked list: entries are written to and, when hit, moved to the young half; a full young half
 * becomes the old one, and what was old and not used since is gone.
 */
export class IdentityCache {
  readonly #half: number
  #generation = 0
  #young = new Map<string, Identity>()
  #old = new Map<string, Identity>()

  constructor(limit: number) {
    this.#half = Math.max(1, Math.floor(limit / 2))
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /**
   * What is known of a token, by its `tokenKey`, unless the keys changed since (`generation`) or it has expired (`now`,
   * milliseconds).
   */
  get(key: string, generation: number, now: number): Identity | undefined {
    if (generation !== this.#generation) {
      this.#restart(generation)
      return undefined
    }
    let identity = this.#young.get(key)
    if (identity === undefined) {
      identity = this.#old.get(key)
      if (identity === undefined) return undefined
      this.#old.delete(key)
      this.#keep(key, identity)
    }
    if (identity.expiresAt > now) return identity
    this.#young.delete(key)
    return undefined
  }

  /** `generation` is the one the token was verified under; an identity from an older one is not kept. */
  set(key: string, generation: number, identity: Identity): void {
    if (generation < this.#generation) return
    if (generation > this.#generation) this.#restart(generation)
    this.#keep(key, identity)
  }

  #keep(key: string, identity: Identity): void {
    if (this.#young.size >= this.#half) {
      this.#old = this.#young
      this.#young = new Map()
    }
    this.#young.set(key, identity)
  }

  #restart(generation: number): void {
    this.#generation = generation
    this.#young = new Map()
    this.#old = new Map()
  }
}

/** What a token is remembered by; looking it up and remembering it need but one hash. */
export function tokenKey(token: string): string {
  // 'binary' keeps the 32 bytes as 32 characters, the shortest string V8 can hold them in.
  return hash('sha256', token, 'binary')
}
