import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parseConfig } from '../src/config.ts'
import { SECRETS } from '../src/secrets.ts'

const SECRET = 'a secret of the tests, 32 bytes or more'
const folder = mkdtempSync(join(tmpdir(), 'glimpse-secrets-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let files = 0
function fileOf(content: string | Uint8Array): string {
  files += 1
  const path = join(folder, `secret-${files}`)
  writeFileSync(path, content)
  return path
}

function problems(environment: Record<string, string>): readonly string[] {
  const parsed = parseConfig(environment)
  return parsed.ok ? [] : parsed.problems
}

const VALUES: Record<(typeof SECRETS)[number], string> = {
  DATABASE_URL: 'postgres://ann:pass@db.example/glimpse',
  LISTEN_DATABASE_URL: 'postgres://ann:pass@direct.example/glimpse',
  JWT_SECRET: SECRET,
  JWT_SECRET_PREVIOUS: SECRET.toUpperCase(),
  BUS_URL: 'nats://ann:pass@127.0.0.1',
}

describe('secrets from files', () => {
  it('mean what the variables mean, without the ends of line at their end', () => {
    const byVariable = parseConfig(VALUES)
    expect(byVariable.ok).toBe(true)
    for (const end of ['', '\n', '\r\n', '\n\n']) {
      const byFile = Object.fromEntries(
        Object.entries(VALUES).map(([name, value]) => [`${name}_FILE`, fileOf(value + end)]),
      )
      expect(parseConfig(byFile)).toEqual(byVariable)
      expect(parseConfig({ ...byFile, NODE_ENV: 'production' }).ok).toBe(true)
    }
  })

  it('keep blanks, and ends of line within', () => {
    const secret = ` ${SECRET}\nx `
    const parsed = parseConfig({ JWT_SECRET_FILE: fileOf(`${secret}\n`) })
    expect(parsed.ok && parsed.config.auth.secrets).toEqual([secret])
  })

  it('may come through a pipe, as `<(pass show jwt)` gives them', () => {
    const path = join(folder, 'pipe')
    execFileSync('mkfifo', [path])
    const [first, second] = [SECRET.slice(0, 10), SECRET.slice(10)]
    spawn('sh', ['-c', '{ printf %s "$1"; sleep 0.1; printf %s "$2"; } >"$0"', path, first, second])
    const parsed = parseConfig({ JWT_SECRET_FILE: path })
    expect(parsed.ok && parsed.config.auth.secrets).toEqual([SECRET])
  })

  it.each(SECRETS)('%s may not be set both ways', (name) => {
    expect(problems({ ...VALUES, [`${name}_FILE`]: fileOf('x') })).toEqual([
      `${name}, ${name}_FILE: set one of the two, not both`,
    ])
    expect(problems({ ...VALUES, [`${name}_FILE`]: '' })).toEqual([])
  })

  it.each<[string, () => string, RegExp]>([
    ['is not there', () => join(folder, 'nowhere'), /^JWT_SECRET_FILE: the file cannot be read \(ENOENT\)$/],
    ['is a folder', () => folder, /^JWT_SECRET_FILE: the file cannot be read \(EISDIR\)$/],
    ['is empty', () => fileOf('\n'), /^JWT_SECRET_FILE: the file is empty$/],
    [
      'is not text',
      () => fileOf(Buffer.alloc(40, 0xff)),
      /^JWT_SECRET_FILE: the file must hold text in UTF-8/,
    ],
    ['has no end', () => '/dev/zero', /^JWT_SECRET_FILE: the file must hold 65536 bytes at most$/],
    [
      'holds a short secret',
      () => fileOf('short-s3cret'),
      /^JWT_SECRET_FILE: must be at least 32 bytes long/,
    ],
  ])('a file that %s is one problem, which names the variable and not the path', (_, make, problem) => {
    const path = make()
    const found = problems({
      JWT_SECRET_FILE: path,
      DATABASE_URL: VALUES.DATABASE_URL,
      NODE_ENV: 'production',
    })
    expect(found).toEqual([expect.stringMatching(problem)])
    expect(found[0]).not.toContain(path)
    expect(found[0]).not.toContain('short-s3cret')
  })

  it('a database URL that is wrong is named by its file', () => {
    expect(problems({ DATABASE_URL_FILE: fileOf('mysql://db.example') })).toEqual([
      expect.stringMatching(/^DATABASE_URL_FILE: must be a postgres:/),
    ])
  })
})

describe('sample secrets', () => {
  const root = new URL('../', import.meta.url)
  const pages = [
    '.env.example',
    'README.md',
    'compose.yaml',
    'compose.nats.yaml',
    ...readdirSync(new URL('docs/', root)).map((name) => `docs/${name}`),
    ...readdirSync(new URL('deploy/', root)).map((name) => `deploy/${name}`),
  ].filter((name) => /\.(md|yaml|example|conf|cfg|service)$/.test(name))
  const text = pages.map((name) => readFileSync(new URL(name, root), 'utf8')).join('\n')
  const values = (pattern: RegExp) => [
    ...new Set([...text.matchAll(pattern)].map(([, value]) => value ?? '')),
  ]
  const secrets = values(/JWT_SECRET(?:_PREVIOUS)?[=:] *['"]?([\w-]{32,})/g)
  const urls = values(/(postgres(?:ql)?:\/\/[\w-]+:[\w-]+@[^\s`'"]+)/g)

  it('are found', () => {
    expect(secrets.length).toBeGreaterThanOrEqual(2)
    expect(urls.length).toBeGreaterThanOrEqual(1)
  })

  it.each([
    'JWT_SECRET',
    'JWT_SECRET_PREVIOUS',
  ])('are no %s in production, by variable or by file', (name) => {
    for (const secret of secrets) {
      const environment = { ...VALUES, [name]: secret }
      expect(problems(environment)).toEqual([])
      expect(problems({ ...environment, NODE_ENV: 'production' })).toEqual([
        expect.stringMatching(new RegExp(`^${name}: must not be the sample`)),
      ])
      const { [name as 'JWT_SECRET']: _, ...others } = VALUES
      const byFile = { ...others, [`${name}_FILE`]: fileOf(`${secret}\n`), NODE_ENV: 'production' }
      expect(problems(byFile)).toEqual([
        expect.stringMatching(new RegExp(`^${name}_FILE: must not be the sample`)),
      ])
    }
  })

  it('are no password of the database in production', () => {
    for (const url of urls)
      expect(problems({ ...VALUES, DATABASE_URL: url, NODE_ENV: 'production' })).toEqual([
        expect.stringMatching(/^DATABASE_URL: its password must not be that of a sample/),
      ])
  })
})
