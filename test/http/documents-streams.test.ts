import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, call, newCallers } from '../support/api.ts'
import { closing, open, STREAMING } from '../support/clients/index.ts'
import { openWebSocket, WsStream } from '../support/clients/websocket.ts'
import { type AsyncApi, expectValid, schemaAt } from '../support/documents.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
let asyncApi: AsyncApi
let sql: postgres.Sql
beforeAll(async () => {
  instance = await startInstance({ MAX_CONNECTIONS_PER_USER: '1' })
  sql = postgres(instance.database.url, { max: 1 })
  asyncApi = (await call<AsyncApi>(instance.url, '/asyncapi.json')).json
})
afterAll(async () => {
  await sql.end()
  await instance.close()
})

async function cast() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob, story: await alice.post() }
}

describe.each(STREAMING)('what the service sends is what /asyncapi.json says, over %s', (transport) => {
  it('for each message', async () => {
    const { alice, bob, story } = await cast()
    const options = { ...alice, lastEventId: 'nonsense' }
    const stream = await (transport === 'ws'
      ? closing(openWebSocket({ ...options, pings: true }))
      : open(transport, options))
    await bob.view(story)
    await bob.react(story, '👍')
    const reacted = await stream.next('story.reacted')
    await sql`select glimpse.append((${alice.user}, 'other.event', '["any", "JSON"]', now())::glimpse.new_event)`
    await stream.next()
    await alice.call('PUT', '/me/read', { cursor: reacted.json.id })
    await stream.next('stream.read')
    if (stream instanceof WsStream) {
      stream.send({ type: 'ping' })
      await stream.next('stream.pong')
    }
    await open(transport, alice) // the one connection that a user may have here
    const { code } = await stream.closed

    const channel = asyncApi.channels[transport === 'ws' ? 'ws' : 'events']
    const documented = Object.keys(channel?.messages ?? {}).filter((name) => !['Auth', 'Ping'].includes(name))
    const seen = stream.messages.map(({ json, sse }) => {
      const name = json.type.replace(/(?:^|\.)(\w)/g, (_, letter: string) => letter.toUpperCase())
      expectValid(schemaAt(asyncApi, 'components', 'schemas', name), json)
      if (sse !== undefined) expect(sse.event).toBe(json.type)
      return name
    })
    expect(seen.sort()).toEqual(documented.sort())
    if (transport === 'ws') expect(closeFrame(code)).toMatchObject({ reason: 'replaced', reconnect: false })
  })
})

describe('what a client sends as /asyncapi.json says', () => {
  it('is understood: a token of another user ends the WebSocket with the documented code', async () => {
    const { alice, bob } = await cast()
    const stream = await closing(openWebSocket(alice))
    const message = { type: 'auth', token: bob.token }
    expectValid(schemaAt(asyncApi, 'components', 'schemas', 'Auth'), message)
    stream.send(message)
    expect(closeFrame((await stream.closed).code)?.description).toContain('another user')
  })

  it('is small: more than 16 KiB end it with the documented code', async () => {
    const { alice } = await cast()
    const stream = await closing(openWebSocket(alice))
    stream.send({ type: 'auth', token: randomBytes(16_384).toString('hex') })
    expect(closeFrame((await stream.closed).code)?.description).toContain('16 KiB')
  })
})

function closeFrame(code: number | undefined) {
  const frames = asyncApi.channels.ws?.['x-close-codes'] as { code: number; description: string }[]
  return frames.find((frame) => frame.code === code)
}
