import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { developmentSecret } from '../../src/auth/development-secret.ts'
import { issueToken } from '../../src/auth/issue-token.ts'
import { createTokenVerifier } from '../../src/auth/verifier.ts'
import { StartError } from '../../src/errors.ts'
import { createLogger } from '../../src/observability/log.ts'

const SECRET = 'a secret of the tests, 32 bytes or more'
const NOW = 1_800_000_000_123
const now = () => NOW
const log = createLogger('silent')

describe('issueToken', () => {
  it('makes what the verifier accepts', async () => {
    const claims = { issuers: ['https://issuer.example'], audiences: ['glimpse'], now }
    const verifier = createTokenVerifier({ secrets: [SECRET], log, ...claims })
    const token = await issueToken(SECRET, 'alice', 60, claims)
    expect(await verifier.verify(token)).toEqual({ user: 'alice', expiresAt: 1_800_000_060_000 })
  })

  it('writes iat and exp, and iss and aud only where they are configured', async () => {
    const token = await issueToken(SECRET, 'alice', 60, { now })
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'JWT' })
    expect(decodeJwt(token)).toEqual({ sub: 'alice', iat: 1_800_000_000, exp: 1_800_000_060 })
  })

  it.each(['', 'x'.repeat(256), 'a\nb', 7, undefined])('refuses the user %j', async (user) => {
    await expect(issueToken(SECRET, user, 60)).rejects.toMatchObject({
      code: 'invalid_field',
      details: { field: 'user' },
    })
  })

  it.each([
    0,
    -1,
    1.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    31_536_001,
  ])('refuses a lifetime of %s', async (seconds) => {
    await expect(issueToken(SECRET, 'alice', seconds)).rejects.toMatchObject({
      code: 'invalid_field',
      details: { field: 'expires_in' },
    })
  })

  it('refuses a short secret', async () => {
    await expect(issueToken('short', 'alice', 60)).rejects.toThrow(StartError)
  })
})

describe('scripts/token.ts', () => {
  let dataDir: string
  beforeAll(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'glimpse-token-'))
  })
  afterAll(() => rm(dataDir, { recursive: true, force: true }))

  const script = async (args: string[], environment: Record<string, string> = {}) => {
    const { NODE_ENV: _, ...inherited } = process.env
    const env = { ...inherited, DATA_DIR: dataDir, ...environment }
    const running = promisify(execFile)(process.execPath, ['--import', 'tsx', 'scripts/token.ts', ...args], {
      env,
    })
    return running.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    )
  }

  it('prints a token of the development secret and nothing else', async () => {
    await developmentSecret(dataDir)
    const { code, stdout, stderr } = await script(['alice', '--expires-in', '60'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    const secret = await readFile(join(dataDir, 'jwt-secret'), 'utf8')
    const { user, expiresAt } = await createTokenVerifier({ secrets: [secret], log }).verify(stdout.trim())
    expect(user).toBe('alice')
    expect(expiresAt - Date.now()).toBeGreaterThan(0)
    expect(expiresAt - Date.now()).toBeLessThanOrEqual(60_000)
  })

  it('uses JWT_SECRET, JWT_ISSUER and JWT_AUDIENCE where they are set', async () => {
    const environment = { JWT_SECRET: SECRET, JWT_ISSUER: 'i', JWT_AUDIENCE: 'a' }
    const { stdout } = await script(['bob'], environment)
    const verifier = createTokenVerifier({ secrets: [SECRET], issuers: ['i'], audiences: ['a'], log })
    expect(await verifier.verify(stdout.trim())).toMatchObject({ user: 'bob' })
  })

  it.each<[string, string[], Record<string, string>, RegExp]>([
    ['no user', [], {}, /name one user/],
    ['two users', ['a', 'b'], {}, /name one user/],
    ['a bad user', ['x'.repeat(256)], { JWT_SECRET: SECRET }, /user must be/],
    ['a bad lifetime', ['a', '--expires-in', 'soon'], {}, /--expires-in must be/],
    ['an unknown option', ['a', '--forever'], {}, /--forever/],
    ['a short secret', ['a'], { JWT_SECRET: 'short' }, /JWT_SECRET.*32/],
    ['JWKS_URL', ['a'], { JWKS_URL: 'https://issuer.example' }, /JWKS_URL/],
    ['NODE_ENV=production', ['a'], { NODE_ENV: 'production', JWT_SECRET: SECRET }, /NODE_ENV=production/],
  ])('ends with one clear line and 1 for %s', async (_, args, environment, line) => {
    const { code, stdout, stderr } = await script(args, environment)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/^token: [^\n]+\n$/)
    expect(stderr).toMatch(line)
  })

  it('explains itself', async () => {
    const { code, stdout } = await script(['--help'])
    expect(code).toBe(0)
    expect(stdout).toContain('--expires-in')
  })
})
