import { pino } from 'pino'
import { afterEach, beforeAll, beforeEach, expect } from 'vitest'
import { createTokenVerifier, type TokenVerifier } from '../../src/auth/verifier.ts'
import { createSigningKey, KeySetServer, type SigningKey } from './key-set-server.ts'

export const SECOND = 1000
export const MINUTE = 60 * SECOND
export const HOUR = 60 * MINUTE

/**
 * Gives each test of the surrounding suite a key set server that publishes `one`, a verifier that trusts it, and a clock
 * that only moves by hand. `fetchTimeoutMs` is in real time.
 */
export function keySetWorld(fetchTimeoutMs = 20 * SECOND): KeySetWorld {
  const world = new KeySetWorld(fetchTimeoutMs)

  beforeAll(async () => {
    world.one = await createSigningKey('ES256', 'one')
    world.two = await createSigningKey('ES256', 'two')
  })

  beforeEach(async () => {
    world.now = Date.now()
    world.server = await KeySetServer.start(world.one)
    await world.restart([world.server.url])
  })

  afterEach(async () => {
    await world.verifier.close()
    await world.server.close()
  })

  return world
}

export class KeySetWorld {
  /** The verifier's clock, in milliseconds. */
  now = 0
  one!: SigningKey
  two!: SigningKey
  server!: KeySetServer
  verifier!: TokenVerifier
  /** What the verifier logged, as lines of JSON. */
  logged: string[] = []
  readonly #fetchTimeoutMs: number

  constructor(fetchTimeoutMs: number) {
    this.#fetchTimeoutMs = fetchTimeoutMs
  }

  /** Another verifier, which knows nothing yet. */
  async restart(jwksUrls: readonly string[], secrets: readonly string[] = []): Promise<void> {
    await this.verifier?.close()
    this.logged = []
    this.verifier = createTokenVerifier({
      jwksUrls,
      secrets,
      now: () => this.now,
      log: pino({}, { write: (line) => this.logged.push(line) }),
      fetchTimeoutMs: this.#fetchTimeoutMs,
    })
  }

  /** A token that outlives every journey in time of these tests. */
  tokenOf(key: SigningKey, sub = 'alice', header = {}): Promise<string> {
    return key.sign({ sub, exp: Math.floor(this.now / 1000) + 7 * 86_400 }, header)
  }

  /** Refused as every token that no key signed; `message` where one did. */
  refused(token: string, message = 'The access token is not valid.'): Promise<void> {
    const error = { code: 'unauthorized', message }
    return expect(this.verifier.verify(token)).rejects.toMatchObject(error)
  }

  unavailable(token: string): Promise<void> {
    return expect(this.verifier.verify(token)).rejects.toMatchObject({ code: 'unavailable' })
  }
}
