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
    // QuickLRU keeps up to twice its maxSize.
    this.#identities = new QuickLRU({ maxSize: Math.max(1, Math.floor(limit / 2)) })
  }

  /**
   * The identity of a token, by its `tokenKey`; undefined if it is unknown, if the keys have changed since (`generation`), or
   * if it has expired (`now`, ms).
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

  /** @param generation that of the keys that verified the token; identities of an older one are not kept */
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

/** The key of a token in the cache, computed once for both `get` and `set`. */
export function tokenKey(token: string): string {
  // 'binary' keeps the 32 bytes as 32 characters, the shortest string V8 can hold them in.
  return hash('sha256', token, 'binary')
}
