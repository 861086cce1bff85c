import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Environment, MainProcess } from '../support/instance.ts'

/** Runs main.js where it is expected to refuse. */
async function refused(environment: Environment): Promise<string> {
  const main = new MainProcess(environment)
  onTestFinished(() => void main.child.kill('SIGKILL'))
  const { code } = await main.exited
  expect(code).toBe(1)
  expect(main.output).not.toMatch(/\n\s+at /)
  return main.output
}

describe('a faulty configuration', () => {
  it('is refused with every fault at once, each named by its variable, and exit code 1', async () => {
    const output = await refused({
      PORT: 'eighty',
      DATABASE_URL: 'mysql://root@127.0.0.1/db',
      JWT_SECRET: 'short',
      CORS_ORIGINS: 'https://app.example/path',
      MAX_CONNECTIONS: '0',
      HEARTBEAT_INTERVAL_MS: '-1',
      LOG_LEVEL: 'loud',
      MIGRATE: 'maybe',
    })
    for (const name of [
      'PORT',
      'DATABASE_URL',
      'JWT_SECRET',
      'CORS_ORIGINS',
      'MAX_CONNECTIONS',
      'HEARTBEAT_INTERVAL_MS',
      'LOG_LEVEL',
      'MIGRATE',
    ])
      expect(output).toMatch(new RegExp(`\\b${name}\\b`))
  })

  it('never repeats a value: it may be a secret', async () => {
    const output = await refused({
      PORT: 'p0rt-value',
      DATABASE_URL: 'mysql://user:pa55w0rd@127.0.0.1/db',
      JWT_SECRET: 'tiny-s3cret',
      JWKS_URL: 'ftp://k3y-value.example',
    })
    for (const value of ['p0rt-value', 'pa55w0rd', 'tiny-s3cret', 'k3y-value'])
      expect(output).not.toContain(value)
  })

  it('names what production needs', async () => {
    const output = await refused({ NODE_ENV: 'production' })
    expect(output).toMatch(/\bJWT_SECRET\b/)
    expect(output).toMatch(/\bJWKS_URL\b/)
    expect(output).toMatch(/\bDATABASE_URL\b/)
  })
})

describe('a database that cannot be reached', () => {
  it('is one clear line without the password, and exit code 1', async () => {
    const output = await refused({ DATABASE_URL: 'postgres://user:pa55w0rd@127.0.0.1:1/db', PORT: '0' })
    expect(output).toMatch(/database|postgres/i)
    expect(output).not.toContain('pa55w0rd')
  })
})

describe('a port that is taken', () => {
  it('is one clear line and exit code 1', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-port-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const first = new MainProcess({ DATA_DIR: dataDir, PORT: '0', LOG_LEVEL: 'info' })
    onTestFinished(async () => void (await first.kill('SIGTERM')))
    const { port } = new URL(await first.listening())
    const output = await refused({ DATA_DIR: dataDir, PORT: port, LOG_LEVEL: 'info' })
    expect(output).toContain(port)
  })
})
