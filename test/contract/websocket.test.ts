import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { closing, open } from '../support/clients/index.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { type Instance, startInstance } from '../support/instance.ts'
import { signToken } from '../support/token.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '300' })
})
afterAll(() => instance.close())

async function scene() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob, story: await alice.post() }
}

describe('a WebSocket', () => {
  it('pings, and keeps a peer that answers', async () => {
    const { alice, bob, story } = await scene()
    const stream = await closing(openWebSocket(alice))
    await vi.waitFor(() => expect(stream.pings).toBeGreaterThanOrEqual(4), 20_000)
    await bob.view(story)
    await stream.take(1)
  })

  it('drops a peer that answers no ping for two intervals', async () => {
    const { alice } = await scene()
    const stream = await closing(openWebSocket({ url: alice.url, token: alice.token, autoPong: false }))
    const { code } = await stream.closed
    expect(code).toBe(1006)
    expect(stream.pings).toBeGreaterThanOrEqual(2)
  })

  it('sends text frames only, one message each', async () => {
    const { alice, bob, story } = await scene()
    const stream = await closing(openWebSocket(alice))
    const frames: boolean[] = []
    stream.socket.on('message', (_data, isBinary) => frames.push(isBinary))
    await bob.view(story)
    await bob.react(story, '❤️')
    await stream.take(2)
    expect(frames).toEqual([false, false])
  })

  it('does not compress: a shared frame is made once for every connection', async () => {
    const { alice } = await scene()
    const stream = await closing(
      openWebSocket({ url: alice.url, token: alice.token, perMessageDeflate: true }),
    )
    expect(stream.socket.extensions).toBe('')
  })

  it('ignores what it does not understand', async () => {
    const { alice, bob, story } = await scene()
    const stream = await closing(openWebSocket(alice))
    const junk = [
      'not json',
      '',
      'null',
      '[]',
      '"auth"',
      '5',
      '{}',
      '{"type":"nope"}',
      '{"type":"auth"}',
      '{"type":"auth","token":5}',
      '{"type":"auth","token":null}',
      '{"type":"auth","token":"not.a.token"}',
      `{"type":"auth","token":"${await signToken(alice.user, { expiresIn: -60 })}"}`,
      `{"type":"auth","token":"${await signToken(alice.user, { secret: 'a'.repeat(40) })}"}`,
      '['.repeat(4000),
      ' '.repeat(16_384),
    ]
    for (const message of junk) stream.send(message)
    stream.socket.send(Buffer.from([0, 1, 2, 255]))
    // The pong shows that everything sent before it was read.
    const pong = new Promise((resolve) => stream.socket.once('pong', resolve))
    stream.socket.ping()
    await pong
    await bob.view(story)
    await stream.take(1)
    expect(stream.messages.map(({ json }) => json.type)).toEqual(['stream.open', 'story.viewed'])
  })

  it('closes with 1009 on a message over 16 KiB', async () => {
    const { alice } = await scene()
    const stream = await closing(openWebSocket(alice))
    stream.send(' '.repeat(16_385))
    expect((await stream.closed).code).toBe(1009)
  })

  it('closes with 1009 on a message that grows over 16 KiB in fragments', async () => {
    const { alice } = await scene()
    const stream = await closing(openWebSocket(alice))
    for (let i = 0; i < 5; i += 1) stream.socket.send(' '.repeat(4000), { fin: false })
    expect((await stream.closed).code).toBe(1009)
  })

  it('answers a close with a close', async () => {
    const { alice } = await scene()
    const stream = await closing(openWebSocket(alice))
    stream.socket.close(1000)
    expect((await stream.closed).code).toBe(1000)
  })

  it("works with the WebSocket of browsers, as undici's is", async () => {
    const { alice, bob, story } = await scene()
    const stream = await open('undici WebSocket', alice)
    await bob.view(story)
    const [event] = await stream.take(1)
    stream.close()
    await stream.closed
    await bob.react(story, '❤️')
    const again = await open('undici WebSocket', {
      url: alice.url,
      token: alice.token,
      lastEventId: event?.json.id ?? '',
    })
    expect((await again.take(1))[0]?.json.seq).toBe(2)
  })
})
