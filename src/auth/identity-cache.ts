import { hash } from 'node:crypto'
import QuickLRU from 'quick-lru'
import type { Identity } from './claims.ts'

/**
 * Verified tokens, `limit` of them at most; past it those used least recently are forgotten.
 *
 * Keys are SHA-256 digests: no two tokens share one, a heap dump shows no credentials, and an entry stays small however
 * long its token is. (A Map hashes its string keys anyway: against the token as the key a digest costs 0.2 µs more.)
 */
export class IdentityCache {
  readonly #identities: QuickLRU<string, Identity>
  #generation = 0

  constructor(limit: number) {
    // It keeps up to twice its size.
    this.#identities = new QuickLRU({ maxSize: Math.max(1, Math.floor(limit / 2)) })
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
    const identity = this.#identities.get(key)
    if (identity === undefined || identity.expiresAt > now) return identity
    this.#identities.delete(key)
    return undefined
  }

  /** `generation` is the one the token was verified under; an identity from an older one is not kept. */
  set(key: string, generation: number, identity: Identity): void {
    if (generation < this.#generation) return
    if (generation > this.#generation) this.#restart(generation)
    this.#identities.set(key, identity)
  }

  #restart(generation: number): void {
    this.#generation = generation
    this.#identities.clear()
  }
}

/** What a token is remembered by; looking it up and remembering it need but one hash. */
export function tokenKey(token: string): string {
  // 'binary' keeps the 32 bytes as 32 characters, the shortest string V8 can hold them in.
  return hash('sha256', token, 'binary')
}
