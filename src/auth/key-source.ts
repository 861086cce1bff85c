import { webcrypto } from 'node:crypto'
import type { CryptoKey, JWSHeaderParameters } from 'jose'
import { StartError } from '../errors.ts'
import { createPlainTokens } from './plain-token.ts'

/** Where verification keys come from: secrets that stay, or a remote set that changes. */
export interface KeySource {
  /** The only algorithms that keys of this kind may be used with (RFC 8725 §3.1). */
  readonly algorithms: readonly string[]
  /** Raised whenever the keys change: what was verified under another generation has to be verified again. */
  readonly generation: number
  /** Each key that may have signed a token with this header. */
  candidates(header: JWSHeaderParameters): AsyncIterable<CryptoKey>
  /** The payload of an ordinary, rightly signed token, without jose, where keys of this kind allow it. */
  readonly plain?: (token: string) => Buffer | undefined
  /** Whether the keys at hand may still be trusted; starts a refresh in the background where one is due. */
  usable(): boolean
  /** Fetches keys where none are usable. Never rejects; `usable` says whether there are any now. */
  ready(): Promise<void>
  /** Looks for new keys, as seldom as the source allows. */
  refresh(): Promise<unknown>
  /** Seconds until a source that is not usable looks for keys again. */
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

/** HS256 with one secret. It is imported once: from bytes each verification would import it again, at twice the cost. */
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
