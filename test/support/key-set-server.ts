import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export interface SigningKey {
  /** As the issuer publishes it. */
  readonly jwk: JWK
  readonly privateKey: CryptoKey
  /** A token of this key; `claims` over `{sub: 'alice', exp: in an hour}`, `header` over `{alg, kid}`. */
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>
}

export type SigningAlgorithm =
  | 'RS256'
  | 'RS384'
  | 'RS512'
  | 'PS256'
  | 'PS384'
  | 'PS512'
  | 'ES256'
  | 'ES384'
  | 'ES512'
  | 'EdDSA'

/** An issuer's key pair; without `kid` neither the published key nor its tokens name one. */
export async function createSigningKey(alg: SigningAlgorithm, kid?: string): Promise<SigningKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const named = kid === undefined ? {} : { kid }
  return {
    jwk: { ...(await exportJWK(publicKey)), ...named, alg, use: 'sig' },
    privateKey,
    sign: (claims, header) =>
      new SignJWT({ sub: 'alice', exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
        .setProtectedHeader({ alg, ...named, ...header })
        .sign(privateKey),
  }
}

type Answer = (response: ServerResponse) => void

/** A real HTTP server with an issuer's JWKS, that can misbehave. */
export class KeySetServer {
  /** How often it was asked, whatever it answered. */
  requests = 0
  readonly #server: Server
  #answer: Answer = () => {}

  static async start(...keys: SigningKey[]): Promise<KeySetServer> {
    const self = new KeySetServer()
    self.publish(...keys)
    await new Promise<void>((resolve) => self.#server.listen(0, '127.0.0.1', resolve))
    return self
  }

  private constructor() {
    this.#server = createServer((_request, response) => {
      this.requests += 1
      this.#answer(response)
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/.well-known/jwks.json`
  }

  /** From now on answers with these keys. */
  publish(...keys: readonly SigningKey[]): void {
    this.answer(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  }

  /** From now on answers with this text, or as this function does (one that does nothing: never). */
  answer(answer: string | Answer): void {
    this.#answer = typeof answer === 'string' ? (response) => response.end(answer) : answer
  }

  /** Cuts every connection at once and refuses new ones. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}
