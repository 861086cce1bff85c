import { readFileSync } from 'node:fs'
import type { JWK } from 'jose'
import { describe, expect, it } from 'vitest'
import { isCompactJws } from '../../src/auth/compact.ts'
import { type KeySource, secretKey } from '../../src/auth/key-source.ts'
import { Refusal } from '../../src/auth/refusal.ts'
import { RemoteKeys } from '../../src/auth/remote-keys.ts'
import { createTokenVerifier, headerOf, signedPayload } from '../../src/auth/verifier.ts'
import { createLogger } from '../../src/observability/log.ts'
import { KeySetServer } from '../support/key-set-server.ts'
import { countCases } from './support/full.ts'

/**
 * Project Wycheproof's vectors for JSON Web Signatures and Keys. Their payloads are no JWT claims, so each goes two ways:
 * through the whole verifier, which must refuse it, and through the verifier's own choice of key and algorithms with
 * nothing but the signature checked, which must tell good from bad.
 */
const FOLDER = new URL('vectors/', import.meta.url)

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly jws: string
  readonly result: 'valid' | 'invalid'
}

interface Group {
  readonly comment: string
  readonly public?: JWK | { keys: JWK[] }
  readonly private: JWK | { keys: JWK[] }
  readonly tests: readonly Vector[]
}

/** Where we differ from the vectors, and why that is right. */
const DIFFERENCES: Readonly<Record<string, string>> = {
  'signature 346': 'a PS384 signature by a key that says PS256',
  'signature 350': 'a PS384 signature by a key that says PS256',
  'signature 347': 'by a key that says ES521, which is no algorithm',
  'signature 351': 'by a key that says ES521, which is no algorithm',
  'signature 367': 'meant to have bad padding, but is the same text as the valid 357',
  'signature 370': 'meant to have bad padding, but is the same text as the valid 357',
  'signature 372': 'called valid with a "?" in base64url; we refuse any character outside the alphabet',
  'signature 373': 'called valid with a "?" in base64url; we refuse any character outside the alphabet',
}

/** Algorithms of valid vectors that we refuse because of the symmetric ones we allow HS256 and nothing else. */
const NOT_ALLOWED: Readonly<Record<string, readonly string[]>> = {
  signature: [],
  key: ['HS384', 'HS512'],
}

const files = { signature: 'json_web_signature_test.json', key: 'json_web_key_test.json' }

describe("Wycheproof's vectors", () => {
  it.for(Object.entries(files))('for web %ss', async ([name, file], context) => {
    const { testGroups } = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as { testGroups: Group[] }
    const unexpected: string[] = []
    const counts = { accepted: 0, refused: 0, notOurs: 0 }
    const notAllowed = new Set<string>()
    for (const group of testGroups) {
      const issuer = await issuerOf(group)
      if (issuer === undefined) {
        counts.notOurs += group.tests.length
        continue
      }
      for (const vector of group.tests) {
        const id = `${name} ${vector.tcId}`
        const accepted = await isAccepted(vector.jws, issuer.keys)
        const algorithm = vector.result === 'valid' ? algorithmOf(vector.jws) : undefined
        const expected = algorithm !== undefined && issuer.keys.algorithms.includes(algorithm)
        if (algorithm !== undefined && !expected) notAllowed.add(algorithm)
        if (accepted !== expected && !(id in DIFFERENCES))
          unexpected.push(`${id} ${vector.comment}: ${accepted ? 'accepted' : 'refused'}`)
        counts[accepted ? 'accepted' : 'refused'] += 1
        await expect(issuer.verifier.verify(vector.jws)).rejects.toMatchObject({ code: 'unauthorized' })
      }
      await issuer.close()
    }
    expect(unexpected).toEqual([])
    // Neither side may be empty, or the vectors would prove nothing.
    expect(counts).toEqual(
      name === 'signature'
        ? { accepted: 42, refused: 359, notOurs: 0 }
        : { accepted: 2, refused: 14, notOurs: 10 },
    )
    // Valid for others: an algorithm outside our allowlist, or a symmetric key set, which no configuration of ours is.
    expect([...notAllowed].sort()).toEqual(NOT_ALLOWED[name])
    countCases(
      context,
      counts.accepted + counts.refused + counts.notOurs,
      `${name}s: ${counts.accepted} accepted, ${counts.refused} refused, ${counts.notOurs} with a symmetric key set; ` +
        `not allowed: ${[...notAllowed].sort().join(' ')}`,
    )
  })
})

async function isAccepted(jws: string, keys: KeySource): Promise<boolean> {
  if (!isCompactJws(jws)) return false
  try {
    const header = headerOf(jws)
    if (!keys.algorithms.includes(header.alg)) return false
    return (keys.plain?.(jws) ?? (await signedPayload(keys, jws, header))) !== undefined
  } catch (error) {
    if (error instanceof Refusal) return false
    throw error
  }
}

function algorithmOf(jws: string): string {
  return (JSON.parse(Buffer.from(jws.split('.')[0] ?? '', 'base64url').toString()) as { alg: string }).alg
}

/** A service set up with a group's keys; undefined where it could not be: no secret of ours is a set or a JWK. */
async function issuerOf(group: Group) {
  const log = createLogger('silent')
  if (group.public === undefined) {
    const [key, ...more] = 'keys' in group.private ? (group.private.keys as JWK[]) : [group.private]
    const secret = Buffer.from(key?.k ?? '', 'base64url')
    if (more.length > 0 || !key?.alg?.startsWith('HS') || secret.length < 32) return undefined
    const verifier = createTokenVerifier({ secrets: [secret], log })
    return { keys: secretKey(secret), verifier, close: async () => {} }
  }
  const server = await KeySetServer.start()
  server.answer(JSON.stringify('keys' in group.public ? group.public : { keys: [group.public] }))
  const keys = new RemoteKeys({ url: server.url, log })
  const verifier = createTokenVerifier({ jwksUrls: [server.url], log })
  await keys.ready()
  const close = async () => {
    await Promise.all([keys.close(), verifier.close()])
    await server.close()
  }
  return { keys, verifier, close }
}
