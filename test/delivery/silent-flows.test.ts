import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import type { Caller } from '../support/api.ts'
import { open } from '../support/clients/index.ts'
import { poll } from '../support/clients/poll.ts'
import { createDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { upTo } from '../support/sql-writer.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'

/** What the design promises for flows that were forgotten on their way, while new ones work. */
const HEALED_MS = 30_000

async function behindProxy(environment: Record<string, string> = {}) {
  const database = await createDatabase()
  const proxy = await TcpProxy.before(database.url)
  const instance = await startInstance(environment, {
    database: { url: proxy.urlFor(database.url), drop: async () => {} },
  })
  onTestFinished(async () => {
    await instance.close()
    await proxy.close()
    await database.drop()
  })
  return { proxy, instance }
}

it('heals for every kind of request where established connections swallow everything', {
  timeout: 60_000,
}, async () => {
  const { proxy, instance } = await behindProxy()
  const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
  const story = await alice.post()
  const stream = await open('sse', { url: instance.url, token: alice.token })
  onTestFinished(() => stream.close())
  const requests: Record<string, (caller: Caller) => Promise<{ status: number }>> = {
    'post a story': (caller) => caller.call('POST', '/stories', {}),
    'read a story': (caller) => caller.call('GET', `/stories/${story}`),
    view: (caller) => caller.call('POST', `/stories/${story}/view`),
    react: (caller) => caller.call('POST', `/stories/${story}/reactions`, { emoji: '❤️' }),
    'take a reaction back': (caller) => caller.call('DELETE', `/stories/${story}/reactions`),
    'read marks': (caller) => caller.call('PUT', '/me/read', { cursor: readTo }),
    poll: (caller) => poll({ url: instance.url, token: caller.token, lastEventId: '0' }),
    ticket: (caller) => caller.call('POST', '/tickets'),
    connections: (caller) => caller.call('GET', '/me/connections'),
    'open a stream': async (caller) => {
      try {
        const opened = await open('ws', { url: instance.url, token: caller.token })
        await opened.close()
        return { status: 101 }
      } catch {
        return { status: 503 }
      }
    },
  }
  const page = await poll({ url: instance.url, token: bob.token })
  const readTo = page.json.cursor
  // As many connections as a busy instance has.
  for (const request of Object.values(requests)) await Promise.all(upTo(8).map(() => request(bob)))

  proxy.swallow()
  const startedAt = performance.now()
  const healed = await Promise.all(
    Object.entries(requests).map(async ([name, request]) => {
      for (;;) {
        const { status } = await request(bob)
        if (status < 400) return [name, performance.now() - startedAt] as const
        // Nothing but "try again" on the way.
        expect([name, status]).toEqual([name, 503])
        if (performance.now() - startedAt > HEALED_MS) return [name, Number.POSITIVE_INFINITY] as const
        await sleep(100)
      }
    }),
  )
  for (const [name, ms] of healed) expect([name, ms < HEALED_MS]).toEqual([name, true])
  await expect
    .poll(async () => (await fetch(`${instance.url}/readyz`)).status, { timeout: HEALED_MS })
    .toBe(200)
  // Pushed again, not only swept.
  const carol = await instance.caller('carol')
  await carol.view(story)
  await expect
    .poll(() => stream.messages.some((message) => JSON.stringify(message).includes(carol.user)))
    .toBe(true)
})

it.each([
  'GET /events',
  'GET /ws',
])('frees the place of a client that left while %s waited for the log', async (target) => {
  const { proxy, instance } = await behindProxy({ MAX_CONNECTIONS: '3' })
  const alice = await instance.caller('alice')
  await (await open('sse', { url: instance.url, token: alice.token })).close()
  const users = async () =>
    Number(/^glimpse_users (\d+)$/m.exec(await (await fetch(`${instance.url}/metrics`)).text())?.[1])
  await expect.poll(users).toBe(0)
  proxy.swallow()
  const { hostname, port } = new URL(instance.url)
  const upgrade =
    target === 'GET /ws'
      ? 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
      : ''
  const socket = connect(Number(port), hostname)
  socket.write(`${target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice.token}\r\n${upgrade}\r\n`)
  await expect.poll(users).toBe(1)
  const leftAt = performance.now()
  socket.end()
  await expect.poll(users, { interval: 10 }).toBe(0)
  // Long before the statement that it waited for would have ended by itself.
  expect(performance.now() - leftAt).toBeLessThan(4000)
})
