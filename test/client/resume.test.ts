import { expect, it, vi } from 'vitest'
import { openFake } from '../support/fake-client.ts'

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

it('a stream that opens at another cursor does not move the client’s: the reset that says so may never arrive', async () => {
  const client = openFake({ store: { load: async () => 'e.2.calice', save: async () => {} } })
  const { service } = client
  let opened = 0
  service.intercept = (request) => {
    if (!request.startsWith('GET /events')) return undefined
    if (opened++ > 0) return undefined
    // The connection is lost between the two messages.
    const open = {
      cursor: 'e.5.calice',
      oldest: 6,
      resumed: false,
      heartbeat_ms: 15_000,
      read: 'e.0',
      unread: 0,
    }
    return new Response(
      `id: e.5.calice\nevent: stream.open\ndata: ${JSON.stringify({ type: 'stream.open', data: open })}\n\n`,
      {
        headers: { 'content-type': 'text/event-stream; charset=utf-8' },
      },
    )
  }
  service.make('alice', 5)
  await pass(10_000)
  expect(opened).toBeGreaterThan(1)
  expect(client.seqs).toEqual([3, 4, 5])
})

it('while a handler runs its connection does not count as silent, up to the handler’s time limit', async () => {
  let release = () => {}
  const working = new Promise<void>((resolve) => {
    release = resolve
  })
  const client = openFake({
    timing: { handlerTimeoutMs: 600_000 },
    onEvent: ({ seq }) => (seq === 1 ? working : undefined),
  })
  await pass(100)
  client.service.make('alice', 2)
  await pass(300_000)
  expect(client.reasons).toEqual([])
  expect(client.service.open).toBe(1)
  release()
  await pass(100)
  expect(client.seqs).toEqual([1, 2])
})
