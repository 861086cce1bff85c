import { webcrypto } from 'node:crypto'
import type { CryptoKey, JWSHeaderParameters } from 'jose'
import { StartError } from '../errors.ts'
import { createPlainTokens } from './plain-token.ts'

/** A source of verification keys: fixed secrets, or a remote key set that changes. */
export interface KeySource {
  /** The only algorithms that keys of this kind may be used with (RFC 8725 §3.1). */
  readonly algorithms: readonly string[]
  /** Increases when the keys change; tokens verified under another generation must be verified again. */
  readonly generation: number
  /** The keys that may have signed a token with this header. */
  candidates(header: JWSHeaderParameters): AsyncIterable<CryptoKey>
  /** A fast path without jose: the payload of a plain, correctly signed token, if this kind of key has such a path. */
  readonly plain?: (token: string) => Buffer | undefined
  /** Whether the present keys may still be trusted; starts a refresh in the background when one is due. */
  usable(): boolean
  /** Fetches keys if none are usable. Never rejects; call `usable` for the result. */
  ready(): Promise<void>
  /** Fetches new keys, at most as often as the source allows. */
  refresh(): Promise<unknown>
  /** Seconds until an unusable source fetches keys again. */
  readonly retryAfter: number
  warm(): Promise<void>
  close(): Promise<void>
}

/** RFC 7518 §3.2: an HS256 key has at least as many bits as the hash. */
export const SECRET_MIN_BYTES = 32

const HMAC = { name: 'HMAC', hash: 'SHA-256' }

/** The bytes of a shared secret; throws StartError where they are fewer than 32. */
export function secretBytes(secret: Uint8Array | string): Uint8Array<ArrayBuffer> {
  const bytes = typeof secret === 'string' ? new TextEncoder().encode(secret) : new Uint8Array(secret)
  if (bytes.byteLength < SECRET_MIN_BYTES)
    throw new StartError(`a JWT secret must be at least ${SECRET_MIN_BYTES} bytes long (RFC 7518 §3.2)`)
  return bytes
}

/** HS256 with one secret, imported once: given as bytes, it would be imported at each verification, at twice the cost. */
export function secretKey(secret: Uint8Array | string): KeySource {
  const bytes = secretBytes(secret)
  let imported: Promise<CryptoKey> | undefined
  return {
    algorithms: ['HS256'],
    generation: 0,
    plain: createPlainTokens(bytes),
    async *candidates() {
      imported ??= webcrypto.subtle.importKey('raw', bytes, HMAC, false, ['verify'])
      yield await imported
    },
    usable: () => true,
    ready: async () => {},
    refresh: async () => {},
    retryAfter: 0,
    warm: async () => {},
    close: async () => {},
  }
}
