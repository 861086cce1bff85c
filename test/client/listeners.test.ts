import { describe, expect, it } from 'vitest'
import { connect } from '../../src/client/index.ts'
import { openFake, pass, tokenOf } from '../support/fake-client.ts'
import { FakeService } from '../support/fake-service.ts'

interface Own {
  'comment.added': { readonly text: string }
}

function open(service = new FakeService()) {
  openFake({}, service)
  const stream = connect<Own>({ ...service.options, token: tokenOf('alice'), transport: 'sse' })
  return { service, stream }
}

describe('on', () => {
  it('calls the handlers of a type, and those of all, in the order in which they were added', async () => {
    const { service, stream } = open()
    const heard: string[] = []
    stream.on('story.viewed', ({ data }) => void heard.push(`viewed by ${data.viewer_id}`))
    stream.on('comment.added', ({ data }) => void heard.push(`comment ${typeof data.text}`))
    stream.on('*', ({ type }) => void heard.push(type))
    await pass(100)
    service.make('alice')
    service.make('alice', 1, 'comment.added')
    service.make('alice', 1, 'story.reacted')
    await pass(100)
    expect(heard).toEqual([
      'viewed by bob',
      'story.viewed',
      'comment undefined',
      'comment.added',
      'story.reacted',
    ])
    stream.close()
  })

  it('returns a function that removes that handler; events without a handler are skipped', async () => {
    const { service, stream } = open()
    let heard = 0
    const count = () => void heard++
    const [first, second] = [stream.on('story.viewed', count), stream.on('story.viewed', count)]
    await pass(100)
    service.make('alice')
    await pass(100)
    expect(heard).toBe(2)
    first()
    first()
    service.make('alice')
    await pass(100)
    expect(heard).toBe(3)
    second()
    service.make('alice')
    await pass(100)
    expect(heard).toBe(3)
    expect(stream.cursor).toBe('e.3.calice')
    stream.close()
  })

  it('waits for each handler before the next event, and moves the cursor after the last', async () => {
    const { service, stream } = open()
    const heard: string[] = []
    stream.on('*', async ({ seq }) => {
      await new Promise((resolve) => setTimeout(resolve, 100))
      heard.push(`slow ${seq} at ${stream.cursor?.split('.')[1]}`)
    })
    stream.on('*', ({ seq }) => void heard.push(`quick ${seq}`))
    await pass(50)
    service.make('alice', 2)
    await pass(500)
    expect(heard).toEqual(['quick 1', 'slow 1 at 0', 'quick 2', 'slow 2 at 1'].sort((a, b) => order(a, b)))
    stream.close()

    // One after the other: the slow one was added first.
    function order(a: string, b: string) {
      const rank = (text: string) => Number(/\d/.exec(text)?.[0]) * 2 + (text.startsWith('quick') ? 1 : 0)
      return rank(a) - rank(b)
    }
  })

  it('ends the stream before an event on which a handler fails', async () => {
    const { service, stream } = open()
    const failure = stream.done.catch((error: unknown) => error)
    stream.on('story.viewed', () => Promise.reject(new Error('out of paper')))
    await pass(100)
    service.make('alice')
    await pass(1000)
    expect(await failure).toMatchObject({ reason: 'handler_failed', cause: { message: 'out of paper' } })
    expect(stream.cursor).toBe('e.0.calice')
  })

  it('reports the stream’s state, what is unread, resets and gaps', async () => {
    const { service, stream } = open()
    const heard: unknown[] = []
    stream.on('stream.state', ({ name }) => void heard.push(name))
    stream.on('stream.unread', (unread) => void heard.push(unread))
    stream.on('stream.reset', ({ reason }) => void heard.push(reason))
    stream.on('stream.gap', ({ expected }) => void heard.push(`missing ${expected}`))
    stream.on('story.viewed', () => {})
    await pass(100)
    service.make('alice')
    await pass(100)
    service.say({ type: 'stream.reset', data: { reason: 'epoch', cursor: 'e.5.c', oldest: 1 } })
    await pass(100)
    service.say({ id: 'e.6.c', seq: 6, type: 'story.viewed', data: {}, timestamp: '' })
    service.say({ id: 'e.9.c', seq: 9, type: 'story.viewed', data: {}, timestamp: '' })
    await pass(1)
    expect(heard).toEqual(['connecting', 0, 'live', 1, 'epoch', 6, 'missing 7', 'waiting'])
    stream.close()
  })

  it('ends the stream if one of those handlers fails, also later', async () => {
    const { stream } = open()
    const failure = stream.done.catch((error: unknown) => error)
    stream.on('stream.state', async ({ name }) => {
      await new Promise((resolve) => setTimeout(resolve, 10))
      if (name === 'live') throw new Error('out of ink')
    })
    await pass(1000)
    expect(await failure).toMatchObject({ reason: 'handler_failed', cause: { message: 'out of ink' } })
  })

  it('gets an event that arrived before the first handler was added', async () => {
    const { service, stream } = open()
    await pass(100)
    service.make('alice', 2)
    await pass(100)
    const heard: number[] = []
    stream.on('*', ({ seq }) => void heard.push(seq))
    await pass(100)
    expect(heard).toEqual([1, 2])
    stream.close()
  })

  it('and iteration exclude each other', async () => {
    const { stream } = open()
    const iterated = open()
    stream.on('*', () => {})
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow(TypeError)
    void iterated.stream[Symbol.asyncIterator]().next()
    await pass(1)
    expect(() => iterated.stream.on('*', () => {})).toThrow(TypeError)
    // Who only looks on is in nobody's way.
    iterated.stream.on('stream.state', () => {})
    iterated.stream.close()
    await pass(1000)
  })
})

describe('debug', () => {
  it('traces what the client does, never a token', async () => {
    const traces: string[] = []
    const token = tokenOf('alice')
    const client = openFake({ token, debug: (what) => traces.push(what) })
    await pass(100)
    client.service.cut()
    await pass(1000)
    client.stream.close()
    await pass(1000)
    const text = traces.join('\n')
    for (const part of ['connecting', 'live', 'the connection has ended', 'waiting', 'by_caller'])
      expect(text).toContain(part)
    expect(text).not.toContain(token.split('.')[1])
  })
})
