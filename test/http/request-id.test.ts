import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { call } from '../support/api.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { type MainProcess, spawnInstance } from '../support/instance.ts'

let database: TestDatabase
let direct: MainProcess & { url: string }
let behind: MainProcess & { url: string }
beforeAll(async () => {
  database = await createDatabase()
  const environment = { DATABASE_URL: database.url, MIGRATE: 'off', LOG_LEVEL: 'trace' }
  direct = await spawnInstance(environment)
  behind = await spawnInstance({ ...environment, TRUST_PROXY: '1' })
})
afterAll(async () => {
  await direct.kill('SIGKILL')
  await behind.kill('SIGKILL')
  await database.drop()
})

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const TRACE = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }

/** A refused request: the name in its answer, and the line of the log with that name. */
async function refused(main: MainProcess & { url: string }, headers: Record<string, string>) {
  const reply = await call(main.url, '/stories/nothing', { headers })
  expect(reply.status).toBe(401)
  const id = reply.headers.get('x-request-id') ?? ''
  const found = () => main.lines.find((line) => 'request_id' in line && line.request_id === id)
  await expect.poll(found).toBeDefined()
  return { id, line: found() }
}

describe('a refused request', () => {
  it('has a name, in its answer and in the log', async () => {
    const [one, other] = [await refused(direct, {}), await refused(direct, {})]
    expect(one.id).toMatch(UUID)
    expect(one.id).not.toBe(other.id)
    expect(one.line).toMatchObject({
      msg: 'a request was refused',
      route: '/stories/:id',
      code: 'unauthorized',
      instance: expect.stringMatching(/^[0-9a-f]{12}$/),
    })
    expect(one.line).not.toHaveProperty('trace_id')
    const bad = await refused(direct, { authorization: 'Bearer a.b.c' })
    expect(bad.line).toMatchObject({ err: { type: 'Refusal', rule: expect.any(String) } })
  })

  it('keeps the name that a trusted proxy gave it, and no other', async () => {
    const given = { 'x-request-id': 'req-7f3a9c/1' }
    expect((await refused(behind, given)).id).toBe('req-7f3a9c/1')
    expect((await refused(direct, given)).id).toMatch(UUID)
    for (const bad of ['', 'two words', 'ä', 'x'.repeat(129)])
      expect((await refused(behind, { 'x-request-id': bad })).id).toMatch(UUID)
  })

  it('has its place in the caller’s trace, where that is one', async () => {
    expect((await refused(direct, TRACE)).line).toMatchObject({
      trace_id: '4bf92f3577b34da6a3ce929d0e0e4736',
      span_id: '00f067aa0ba902b7',
    })
    const bad = await refused(direct, { traceparent: '00-0-0-01' })
    expect(bad.line).not.toHaveProperty('trace_id')
  })

  it('is named by one instance on all of its lines', () => {
    for (const main of [direct, behind])
      expect(new Set(main.lines.map((line) => (line as { instance?: string }).instance)).size).toBe(1)
  })
})
