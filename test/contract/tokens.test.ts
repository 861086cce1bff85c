import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { closing, open, STREAMING } from '../support/clients/index.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance()
})
afterAll(() => instance.close())

async function scene() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob, story: await alice.post() }
}

describe.each(STREAMING)('a token that expires under a connection, over %s', (transport) => {
  it('ends the connection, not before its time, and a new token resumes', async () => {
    const { alice, bob, story } = await scene()
    const before = Date.now()
    const token = await signToken(alice.user, { expiresIn: 2 })
    const stream = await open(transport, { url: alice.url, token })
    await bob.view(story)
    await stream.take(1)
    const { json } = await stream.next('stream.close')
    const lasted = Date.now() - before
    expect(json.data).toEqual({
      reason: 'token_expired',
      reconnect: expect.any(Boolean),
      retry_ms: expect.any(Number),
    })
    const { code } = await stream.closed
    if (transport === 'ws') expect(code).toBe(4001)
    // exp counts whole seconds, so a token for 2 s lasts 1 to 2; a wheel that ticks each second may add one more.
    expect(lasted).toBeGreaterThan(950)
    expect(lasted).toBeLessThan(4_000)

    await bob.react(story, '❤️')
    expect(stream.seqs).toEqual([1])
    const again = await open(transport, { url: alice.url, token: alice.token, lastEventId: stream.cursor })
    expect((await again.take(1))[0]?.json.seq).toBe(2)
  })
})

describe('a token refreshed in band', () => {
  it('extends the connection past the end of the first', async () => {
    const { alice, bob, story } = await scene()
    const token = await signToken(alice.user, { expiresIn: 2 })
    const refreshed = await closing(openWebSocket({ url: alice.url, token }))
    const left = await closing(openWebSocket({ url: alice.url, token }))
    refreshed.send({ type: 'auth', token: alice.token })
    // The other connection, with the same token and no refresh, tells when the first token's time is over.
    expect((await left.closed).code).toBe(4001)
    await bob.view(story)
    await refreshed.take(1)
    expect(refreshed.messages.map(({ json }) => json.type)).toEqual(['stream.open', 'story.viewed'])
  })

  it('lasts only as long as the fresh token', async () => {
    const { alice } = await scene()
    const stream = await closing(openWebSocket(alice))
    stream.send({ type: 'auth', token: await signToken(alice.user, { expiresIn: 2 }) })
    expect((await stream.next('stream.close')).json.data.reason).toBe('token_expired')
    expect((await stream.closed).code).toBe(4001)
  })

  it('may not be for another user: 1008', async () => {
    const { alice, bob } = await scene()
    const stream = await closing(openWebSocket(alice))
    stream.send({ type: 'auth', token: bob.token })
    expect((await stream.closed).code).toBe(1008)
  })
})
