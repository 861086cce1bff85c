import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { stablePort } from '../faults/prover/ports.ts'
import { Caller, call, uniqueName } from '../support/api.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { MainProcess } from '../support/instance.ts'
import { insertStory, insertViews, upTo } from '../support/sql-writer.ts'
import { signToken } from '../support/token.ts'
import { Follower } from './follower.ts'
import { isInstalled, startProxy } from './proxy.ts'

const OLD = 'the old secret of production, 32 bytes or more'
const NEW = 'the new secret of production, 32 bytes or more'

let database: TestDatabase
let folder: string
beforeEach(async ({ skip }) => {
  skip(!isInstalled('haproxy'), 'haproxy is not installed')
  database = await createDatabase()
  folder = await mkdtemp(join(tmpdir(), 'glimpse-production-'))
  onTestFinished(async () => {
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  })
})

/** As docs/deployment.md says: production, secrets from files, metrics on a port of their own. */
async function production(port: number, adminPort: number, secrets: readonly string[]): Promise<MainProcess> {
  const fileOf = async (name: string, content: string) => {
    const path = join(folder, `${name}-${port}`)
    await writeFile(path, `${content}\n`, { mode: 0o600 })
    return path
  }
  const [secret = '', previous] = secrets
  const main = new MainProcess({
    NODE_ENV: 'production',
    PORT: String(port),
    ADMIN_PORT: String(adminPort),
    DATABASE_URL_FILE: await fileOf('database-url', database.url),
    JWT_SECRET_FILE: await fileOf('jwt-secret', secret),
    ...(previous === undefined
      ? {}
      : { JWT_SECRET_PREVIOUS_FILE: await fileOf('jwt-secret-previous', previous) }),
    MIGRATE: 'off',
    TRUST_PROXY: '1',
    RATE_LIMIT: 'off',
    DRAIN_TIMEOUT_MS: '1000',
  })
  onTestFinished(() => void main.child.kill('SIGKILL'))
  await main.listening()
  return main
}

/** Which servers HAProxy's log last said are down, as `backend/server`. */
function serversDown(log: string): string[] {
  const states = [...log.matchAll(/Server (\S+) is (UP|DOWN)/g)].map(
    ([, server = '', state]) => [server, state] as const,
  )
  return [...new Map(states)].flatMap(([server, state]) => (state === 'DOWN' ? [server] : []))
}

it('behind HAProxy, with secrets from files, a secret is changed and nobody is signed out', async () => {
  const ports = await Promise.all(upTo(4).map(() => stablePort()))
  const [first = 0, second = 0, ...admin] = ports
  const places = [first, second].map((port, i) => [port, admin[i] ?? 0] as const)
  let instances = await Promise.all(places.map(([port, adminPort]) => production(port, adminPort, [OLD])))
  const proxy = await startProxy('haproxy', [`http://127.0.0.1:${first}`, `http://127.0.0.1:${second}`])
  onTestFinished(() => proxy.stop())
  const { url } = proxy

  // Only what the public needs is there.
  for (const path of ['/metrics', '/', '/docs', '/openapi.json', '/dev/tokens'])
    expect((await call(url, path)).status, path).toBe(404)
  for (const [, adminPort] of places)
    expect((await call(`http://127.0.0.1:${adminPort}`, '/metrics')).status).toBe(200)

  const user = uniqueName('ann')
  const signedIn = await signToken(user, { secret: OLD })
  const sql = postgres(database.url, { max: 1 })
  onTestFinished(() => sql.end())
  const story = await insertStory(sql, user)
  const follower = await new Follower().start('sse', new Caller(url, user, signedIn), 4)
  onTestFinished(() => follower.stop())

  const accepted = async (token: string) => {
    const statuses = await Promise.all(
      upTo(8).map(async () => (await call(url, `/stories/${story}`, { token })).status),
    )
    return [...new Set(statuses)]
  }
  const tokens = [signedIn]
  for (const [step, secrets] of [
    [OLD, NEW],
    [NEW, OLD],
  ].entries()) {
    await insertViews(sql, story, [`before ${step}`])
    for (const [i, [port, adminPort]] of places.entries()) {
      expect((await instances[i]?.kill('SIGTERM'))?.code).toBe(0)
      instances = instances.with(i, await production(port, adminPort, secrets))
      await expect
        .poll(async () => (await call(`http://127.0.0.1:${adminPort}`, '/readyz')).status, {
          timeout: 30_000,
        })
        .toBe(200)
      // HAProxy asks only each second: the other one may go when HAProxy too has seen that this one is back.
      await expect.poll(async () => serversDown(await proxy.log()), { timeout: 30_000 }).toEqual([])
      for (const token of tokens) expect(await accepted(token)).toEqual([200])
    }
    // From here on every instance takes what the issuer signs next.
    tokens.push(await signToken(user, { secret: NEW }))
    for (const token of tokens) expect(await accepted(token)).toEqual([200])
    await insertViews(sql, story, [`after ${step}`])
  }
  await follower.done
  expect(follower.seqs).toEqual(upTo(4))
  expect(follower.resets).toBe(0)
  for (const { output } of instances) for (const secret of [OLD, NEW]) expect(output).not.toContain(secret)
})
