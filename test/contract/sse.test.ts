import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { type Caller, newCallers } from '../support/api.ts'
import { closing } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { type Instance, startInstance } from '../support/instance.ts'

let instance: Instance
beforeAll(async () => {
  instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '100' })
})
afterAll(() => instance.close())

async function scene() {
  const [alice, bob] = (await newCallers(instance.url, 'alice', 'bob')) as [Caller, Caller]
  return { alice, bob, story: await alice.post() }
}

describe('an SSE response', () => {
  it('has headers that no cache and no proxy holds back', async () => {
    const { alice } = await scene()
    const { response } = await closing(openSse(alice))
    expect(response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(response.headers['content-length']).toBeUndefined()
  })

  it.each(['text/event-stream', '*/*', undefined])('is what Accept: %s gets', async (accept) => {
    const { alice } = await scene()
    const headers = accept === undefined ? {} : { accept }
    const response = await fetch(`${alice.url}/events?token=${alice.token}`, {
      headers,
      signal: AbortSignal.timeout(5_000),
    })
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    await response.body?.cancel()
  })

  it('sets the reconnection time first', async () => {
    const { alice } = await scene()
    const stream = await closing(openSse(alice))
    expect(stream.text).toMatch(/^retry: ?2000\n/)
    expect(stream.retries).toEqual([2000])
  })

  it('frames every event with its cursor as id and its type as event, on one data line', async () => {
    const { alice, bob, story } = await scene()
    const stream = await closing(openSse(alice))
    await bob.view(story)
    await bob.react(story, '❤️')
    const events = await stream.take(2)
    for (const { raw, json, sse } of events) {
      expect(sse).toEqual({ id: json.id, event: json.type })
      expect(stream.text).toContain(`data: ${raw}\n`)
    }
    expect(stream.text).not.toContain('\r')
  })

  it('carries the cursor of stream.open and stream.reset as id, for a bare EventSource to resume from', async () => {
    const { alice } = await scene()
    const stream = await closing(openSse({ url: alice.url, token: alice.token, lastEventId: 'nonsense' }))
    const reset = await stream.next('stream.reset')
    const opened = stream.messages[0]
    expect(opened?.sse).toEqual({ id: reset.json.data.cursor, event: 'stream.open' })
    expect(reset.sse).toEqual({ id: reset.json.data.cursor, event: 'stream.reset' })
  })

  it('shows that it is alive by comments', async () => {
    const { alice } = await scene()
    const stream = await closing(openSse(alice))
    const before = stream.messages.length
    await vi.waitFor(() => expect(stream.comments.length).toBeGreaterThanOrEqual(3), 20_000)
    expect(stream.messages).toHaveLength(before)
  })
})
