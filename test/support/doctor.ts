import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it, onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { glimpse, glimpseHere, type Invocation } from './cli.ts'
import { createDatabase, type TestDatabase } from './database.ts'
import { query } from './embedded/server.ts'
import { TEST_SECRET } from './token.ts'

/** What is wrong; how it is planted; the check that finds it; what it says; how to fix it. */
export type Row = readonly [string, () => Invocation | Promise<Invocation>, string, RegExp, RegExp]

/** Plants nothing but variables. */
export const set = (environment: Record<string, string>) => (): Invocation => ({ environment })

export const problems = (findings: readonly Finding[]) =>
  findings.filter(({ verdict }) => verdict === 'problem')

/** The port of a server that listens until the test ends. */
export async function listening(server: Server = createServer()): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** What `glimpse doctor` is examined on: an ordinary deployment, over which a test plants its problem. */
export class World {
  /** Of the file, without a .env. */
  folder = ''
  /** Of the test. */
  database: TestDatabase = { url: '', drop: async () => {} }

  constructor() {
    beforeAll(async () => {
      this.folder = await mkdtemp(join(tmpdir(), 'glimpse-doctor-'))
    })
    afterAll(() => rm(this.folder, { recursive: true, force: true }))
    beforeEach(async () => {
      const database = await createDatabase()
      this.database = database
      onTestFinished(() => database.drop())
    })
  }

  get variables(): Record<string, string> {
    return {
      DATABASE_URL: this.database.url,
      JWT_SECRET: TEST_SECRET,
      PORT: '0',
      MAX_CONNECTIONS: '100',
    }
  }

  /** The database's name. */
  get name(): string {
    return new URL(this.database.url).pathname.slice(1)
  }

  /** Plants by statements in the database. */
  planted(statement: () => string, environment: Record<string, string> = {}): () => Promise<Invocation> {
    return async () => {
      await query(this.database.url, statement())
      return { environment }
    }
  }

  /** In a process of its own where it is said, or where the invocation needs one. */
  async examine(
    { environment = {}, ...invocation }: Invocation = {},
    { started = Object.keys(invocation).length > 0 } = {},
  ): Promise<{
    code: number | null
    findings: Finding[]
  }> {
    const variables = { ...this.variables, ...environment }
    const args = ['doctor', '--json']
    const { code, stdout, stderr } = started
      ? await glimpse(args, { cwd: this.folder, ...invocation, environment: variables })
      : await glimpseHere(args, variables)
    expect(stderr).toBe('')
    const report = JSON.parse(stdout) as { ok: boolean; findings: Finding[] }
    expect(report.ok).toBe(code === 0)
    return { code, findings: report.findings }
  }

  /** A test for each row: the problem is found, explained, and ends the command with 1. */
  explains(rows: readonly Row[]): void {
    it.each(rows)('explains %s, and ends with 1', async (_, plant, check, says, fix) => {
      const { code, findings } = await this.examine(await plant())
      const found = problems(findings)
      expect(found.map((problem) => [problem.check, problem.says])).toContainEqual([
        check,
        expect.stringMatching(says),
      ])
      const problem = found.find((one) => one.check === check && says.test(one.says))
      expect(problem?.fix).toMatch(fix)
      expect(code).toBe(1)
      expect(JSON.stringify(findings)).not.toMatch(/pa55w0rd|wr0ng|secret=1/)
    })
  }
}
