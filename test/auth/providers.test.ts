import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTokenVerifier } from '../../src/auth/verifier.ts'
import { parseConfig } from '../../src/config.ts'
import { createLogger } from '../../src/observability/log.ts'
import {
  createSigningKey,
  KeySetServer,
  type SigningAlgorithm,
  type SigningKey,
} from '../support/key-set-server.ts'

/** Access or ID tokens as each provider documents them; the settings are those of docs/identity-providers.md. */
interface Provider {
  readonly name: string
  readonly alg: SigningAlgorithm
  readonly header: Record<string, unknown>
  /** How its key set differs from a plain one. */
  readonly jwk?: Record<string, unknown>
  readonly claims: Record<string, unknown>
  /** Without JWKS_URL, which the test serves. */
  readonly settings: Record<string, string>
  readonly user: string
  /** Claims of the provider's other tokens, which must not get in. */
  readonly foreign: readonly Record<string, unknown>[]
}

const PROVIDERS: readonly Provider[] = [
  {
    name: 'Auth0',
    alg: 'RS256',
    header: { typ: 'JWT', kid: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' },
    claims: {
      iss: 'https://tenant.eu.auth0.com/',
      sub: 'auth0|5f7c8ec7c33c6c004bbafe82',
      aud: ['https://glimpse.example', 'https://tenant.eu.auth0.com/userinfo'],
      azp: 'my_client_id',
      scope: 'openid profile',
    },
    settings: { JWT_ISSUER: 'https://tenant.eu.auth0.com/', JWT_AUDIENCE: 'https://glimpse.example' },
    user: 'auth0|5f7c8ec7c33c6c004bbafe82',
    foreign: [{ aud: 'my_client_id' }, { iss: 'https://tenant.eu.auth0.com' }],
  },
  {
    name: 'Auth0, RFC 9068 profile',
    alg: 'RS256',
    header: { typ: 'at+jwt', kid: 'k1' },
    claims: {
      iss: 'https://tenant.eu.auth0.com/',
      sub: 'google-oauth2|103547991597142817347',
      aud: 'https://glimpse.example',
      client_id: 'my_client_id',
      jti: '73WakrfVbNJBaAmhQtEeDv',
    },
    settings: { JWT_ISSUER: 'https://tenant.eu.auth0.com/', JWT_AUDIENCE: 'https://glimpse.example' },
    user: 'google-oauth2|103547991597142817347',
    // `client_id` counts only where there is no `aud`.
    foreign: [{ aud: 'https://other.example', client_id: 'https://glimpse.example' }],
  },
  {
    name: 'Keycloak',
    alg: 'RS256',
    header: { typ: 'JWT', kid: 'FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE' },
    claims: {
      iss: 'https://id.example/realms/shop',
      sub: '24400dc6-6e4f-4e0a-8a4c-5a5fcd9a2f11',
      aud: ['glimpse', 'account'],
      azp: 'web',
      typ: 'Bearer',
      auth_time: 1_700_000_000,
      jti: 'onrtac:7f0ed7ad',
      acr: '1',
      'allowed-origins': ['https://app.example'],
      realm_access: { roles: ['offline_access', 'uma_authorization'] },
      resource_access: { account: { roles: ['view-profile'] } },
      preferred_username: 'ann',
    },
    settings: { JWT_ISSUER: 'https://id.example/realms/shop', JWT_AUDIENCE: 'glimpse' },
    user: '24400dc6-6e4f-4e0a-8a4c-5a5fcd9a2f11',
    foreign: [{ aud: 'account' }, { iss: 'https://id.example/realms/other' }],
  },
  {
    name: 'Entra ID',
    alg: 'RS256',
    header: { typ: 'JWT', kid: 'nOo3ZDrODXEK1jKWhXslHR_KXEg', x5t: 'nOo3ZDrODXEK1jKWhXslHR_KXEg' },
    jwk: { alg: undefined, issuer: 'https://login.microsoftonline.com/tenant-id/v2.0' },
    claims: {
      iss: 'https://login.microsoftonline.com/tenant-id/v2.0',
      aud: '6e74172b-be56-4843-9ff4-e66a39bb12e3',
      nbf: 1_700_000_000,
      sub: 'AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ',
      oid: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
      azp: '6e74172b-be56-4843-9ff4-e66a39bb12e3',
      tid: 'tenant-id',
      ver: '2.0',
    },
    settings: {
      JWT_ISSUER: 'https://login.microsoftonline.com/tenant-id/v2.0',
      JWT_AUDIENCE: '6e74172b-be56-4843-9ff4-e66a39bb12e3',
      JWT_USER_CLAIM: 'oid',
    },
    user: '690222be-ff1a-4d56-abd1-7e4f7d38e474',
    foreign: [
      { iss: 'https://login.microsoftonline.com/another-tenant/v2.0' },
      { iss: 'https://sts.windows.net/tenant-id/' },
      { oid: undefined },
    ],
  },
  {
    name: 'Firebase',
    alg: 'RS256',
    header: { typ: 'JWT', kid: 'f90fb1ae048a548fb681ad6092b0b869ea467ac6' },
    claims: {
      iss: 'https://securetoken.google.com/my-project',
      aud: 'my-project',
      auth_time: 1_700_000_000,
      user_id: 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4',
      sub: 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4',
      firebase: { identities: {}, sign_in_provider: 'anonymous' },
    },
    settings: { JWT_ISSUER: 'https://securetoken.google.com/my-project', JWT_AUDIENCE: 'my-project' },
    user: 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4',
    // One key set serves every project there is: only issuer and audience keep the others out.
    foreign: [{ iss: 'https://securetoken.google.com/other', aud: 'other' }, { aud: 'other' }],
  },
  {
    name: 'Cognito, access token',
    alg: 'RS256',
    header: { kid: '1234example=' },
    claims: {
      sub: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee',
      iss: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_example',
      version: 2,
      client_id: '1example23456789',
      'cognito:groups': ['readers'],
      token_use: 'access',
      scope: 'openid',
      username: 'ann',
    },
    settings: {
      JWT_ISSUER: 'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_example',
      JWT_AUDIENCE: '1example23456789',
    },
    user: 'aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee',
    foreign: [{ client_id: 'another' }, { client_id: undefined }, { client_id: ['1example23456789'] }],
  },
  {
    name: 'Clerk',
    alg: 'RS256',
    header: { typ: 'JWT', cat: 'cl_B7d4PD111AAA', kid: 'ins_2abc' },
    claims: {
      azp: 'https://app.example',
      exp: undefined,
      fva: [0, -1],
      iss: 'https://clerk.app.example',
      nbf: 1_700_000_000,
      sid: 'sess_123',
      sub: 'user_123',
      v: 2,
    },
    settings: { JWT_ISSUER: 'https://clerk.app.example' },
    user: 'user_123',
    foreign: [{ iss: 'https://another.clerk.accounts.dev' }],
  },
  {
    name: 'Supabase',
    alg: 'ES256',
    header: { typ: 'JWT', kid: '0ec7a2d8-33c4-4ad2-8b8a-4b7a0d2f1c55' },
    jwk: { key_ops: ['verify'], ext: true, use: undefined },
    claims: {
      iss: 'https://project.supabase.co/auth/v1',
      sub: '8ccaa7af-909f-44e7-84cb-67cdccb56be6',
      aud: 'authenticated',
      email: 'ann@example.org',
      app_metadata: { provider: 'email' },
      role: 'authenticated',
      aal: 'aal1',
      is_anonymous: false,
    },
    settings: { JWT_ISSUER: 'https://project.supabase.co/auth/v1', JWT_AUDIENCE: 'authenticated' },
    user: '8ccaa7af-909f-44e7-84cb-67cdccb56be6',
    // The publishable key of a project is a token of the same kind, without a user.
    foreign: [{ sub: undefined, aud: undefined, role: 'anon' }],
  },
  {
    name: 'Okta',
    alg: 'RS256',
    header: { kid: 'ZkvelLN_seik7w4pc_prCcfUf-h2hFfiwkDeCrs0iUc' },
    claims: {
      ver: 1,
      jti: 'AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE',
      iss: 'https://dev.okta.com/oauth2/default',
      aud: 'api://default',
      sub: 'ann@example.org',
      cid: '0oa1client',
      uid: '00u1abcd2EFGH3ijk4l5',
      scp: ['openid'],
    },
    settings: {
      JWT_ISSUER: 'https://dev.okta.com/oauth2/default',
      JWT_AUDIENCE: 'api://default',
      JWT_USER_CLAIM: 'uid',
    },
    user: '00u1abcd2EFGH3ijk4l5',
    // An ID token is for the client, not for us.
    foreign: [{ aud: '0oa1client', uid: undefined }],
  },
  {
    name: 'Google',
    alg: 'RS256',
    header: { typ: 'JWT', kid: '6f7254101f56e41cf35c9926de84a2d552b4c6f1' },
    claims: {
      iss: 'accounts.google.com',
      azp: '1234987819200.apps.googleusercontent.com',
      aud: '1234987819200.apps.googleusercontent.com',
      sub: '10769150350006150715113082367',
      at_hash: 'HK6E_P6Dh8Y93mRNtsDB1Q',
      hd: 'example.org',
    },
    settings: {
      JWT_ISSUER: 'https://accounts.google.com,accounts.google.com',
      JWT_AUDIENCE: '1234987819200.apps.googleusercontent.com',
    },
    user: '10769150350006150715113082367',
    foreign: [{ aud: 'somebody-elses.apps.googleusercontent.com' }],
  },
]

describe.each(PROVIDERS)('$name', ({ alg, header, jwk, claims, settings, user, foreign }) => {
  let server: KeySetServer
  let key: SigningKey
  let other: SigningKey
  beforeAll(async () => {
    key = await createSigningKey(alg, String(header.kid))
    other = await createSigningKey(alg, 'the next one')
    server = await KeySetServer.start()
    server.answer(JSON.stringify({ keys: [other.jwk, { ...key.jwk, ...jwk }] }))
  })
  afterAll(() => server.close())

  const now = Math.floor(Date.now() / 1000)
  const sign = (changes = {}) => key.sign({ ...claims, iat: now, exp: now + 3600, ...changes }, header)

  async function verify(token: string) {
    const parsed = parseConfig({ JWKS_URL: server.url, ...settings })
    if (!parsed.ok) throw new Error(parsed.problems.join('; '))
    const verifier = createTokenVerifier({ ...parsed.config.auth, log: createLogger('silent') })
    try {
      return await verifier.verify(token)
    } finally {
      await verifier.close()
    }
  }

  it('names its user', async () => {
    expect(await verify(await sign())).toEqual({ user, expiresAt: (now + 3600) * 1000 })
  })

  it('is refused where the token was made for somebody else', async () => {
    for (const changes of foreign)
      await expect(verify(await sign(changes)), JSON.stringify(changes)).rejects.toMatchObject({
        code: 'unauthorized',
      })
  })
})

it('docs/identity-providers.md gives these settings', () => {
  const page = readFileSync(new URL('../../docs/identity-providers.md', import.meta.url), 'utf8')
  for (const { name, settings } of PROVIDERS) {
    const [, section = ''] = page.split(`\n## ${name.split(',')[0]}\n`)
    const paragraph = section.split('\n## ')[0] ?? ''
    expect(paragraph, name).toContain('JWKS_URL=')
    for (const variable of Object.keys(settings)) expect(paragraph, name).toContain(`${variable}=`)
  }
})
