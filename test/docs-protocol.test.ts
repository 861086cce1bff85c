import { readFile } from 'node:fs/promises'
import { EventSource } from 'eventsource'
import { WebSocket } from 'undici'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { EXAMPLES } from '../src/http/documents/examples.ts'
import { RESET_REASONS } from '../src/http/documents/messages.ts'
import { PROBLEMS } from '../src/http/problem.ts'
import { routeTable } from '../src/http/routes.ts'
import { CLOSES } from '../src/hub/connection.ts'
import { CLOSE_CODES } from '../src/transport/websocket.ts'
import { call } from './support/api.ts'
import { open } from './support/clients/index.ts'
import { startInstance } from './support/instance.ts'
import { signToken } from './support/token.ts'

let page: string
beforeAll(async () => {
  page = await readFile('docs/protocol.md', 'utf8')
})

const blocks = (kind: string) =>
  [...page.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, block]) => block ?? '',
  )

/** What stays of a text when all that differs from one stream to another is left out. */
function shape(text: string): string {
  return text
    .replaceAll(/[0-9a-f]{6,}\.\d+\.[0-9a-f]+/g, 'CURSOR')
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replaceAll(/"(bob|alice)(-\d+)?"/g, '"USER"')
    .replaceAll(/:(\d+|true|false)\b/g, ':VALUE')
}

describe('docs/protocol.md', () => {
  it('lists every problem type with its status, and no other', () => {
    const section = page.slice(page.indexOf('\n## Refusals'))
    const listed = [...section.matchAll(/^\| `(\w+)` \| (\d{3}) \| ./gm)].map(([, code, status]) => [
      code,
      Number(status),
    ])
    const known = Object.entries(PROBLEMS).map(([code, { status }]) => [code, status])
    expect(listed.sort()).toEqual(known.sort())
  })

  it('shows an example of each message, with the fields it has', () => {
    const shown = blocks('json')
      .flatMap((block) => block.trim().split('\n'))
      .map((line) => JSON.parse(line) as { type: string })
    const fields = (value: unknown) =>
      JSON.stringify(value, (_, inner) => (Object(inner) === inner ? inner : 0))
    const byType = (messages: readonly { readonly type: string }[]) =>
      Object.fromEntries(messages.map((message) => [message.type, fields(message)]))
    expect(byType(shown)).toEqual(byType(Object.values(EXAMPLES)))
  })

  it('shows SSE and a page of the poll as they are', async () => {
    const instance = await startInstance({ HEARTBEAT_INTERVAL_MS: '100' })
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const story = await alice.post()
    const controller = new AbortController()
    const answer = await fetch(`${instance.url}/events?token=${alice.token}`, { signal: controller.signal })
    const text = { received: '' }
    const reading = (async () => {
      for await (const chunk of answer.body ?? []) text.received += Buffer.from(chunk).toString()
    })().catch(() => {})
    await expect.poll(() => text.received).toContain('stream.open')
    await bob.view(story)
    await expect.poll(() => text.received).toMatch(/story\.viewed[\s\S]*\n:\n\n/)
    controller.abort()
    await reading
    // Heartbeats may also have come between.
    const [sse = ''] = blocks('sse')
    const frames = text.received.split('\n\n').filter((frame) => frame !== ':')
    expect(shape(`${frames.join('\n\n')}:\n`.trim())).toBe(shape(sse.trim()))

    const polled = await call(instance.url, '/events?after=0', {
      token: alice.token,
      headers: { accept: 'application/json' },
    })
    expect(shape(polled.text)).toBe(shape(blocks('poll')[0]?.trim() ?? ''))
  })

  it('shows a refusal as it is', async () => {
    const instance = await startInstance()
    onTestFinished(() => instance.close())
    const { text } = await call(instance.url, '/events', { token: 'x' })
    expect(text).toBe(blocks('problem')[0]?.trim())
  })

  it('shows what an EventSource gets in place of a refusal that passes', async () => {
    const instance = await startInstance({ MAX_CONNECTIONS: '1' })
    onTestFinished(() => instance.close())
    const alice = await instance.caller('alice')
    await open('ws', alice)
    const headers = { accept: 'text/event-stream' }
    const { text } = await call(instance.url, '/events', { token: alice.token, headers })
    const digits = (block: string) => block.trim().replaceAll(/\d+/g, 'MS')
    expect(digits(text)).toBe(digits(blocks('pause')[0] ?? ''))
  })

  it('lists each reason to reset and each close code, with what to do', () => {
    const rows = [...page.matchAll(/^\| `(\w+)` \| .* \| (with|from) .*\|$/gm)].map(([, reason]) => reason)
    expect(rows.sort()).toEqual(Object.keys(RESET_REASONS).sort())
    const codes = [...page.matchAll(/^\| (\d{4}) \| (?:`(\w+)`)?.* \| (yes|no)[^|]*\|$/gm)]
      .map(([, code, reason, again]) => [Number(code), reason, again])
      .filter(([, reason]) => reason !== undefined)
    const known = Object.entries(CLOSE_CODES).map(([reason, code]) => [
      code,
      reason,
      CLOSES[reason as keyof typeof CLOSES].reconnect ? 'yes' : 'no',
    ])
    expect(codes.sort()).toEqual(known.sort())
  })

  it('lists the calls there are', () => {
    const listed = [...page.matchAll(/^\| `([A-Z]+) (\/[^` ]+)`.* \|$/gm)].map(
      ([, method, path]) => `${method} ${path}`,
    )
    const served = routeTable({ production: true })
      .map(([method, path]) => `${method} ${path.replaceAll(/:(\w+)/g, '{id}')}`)
      .filter((route) => / \/(stories|me|tickets)\b/.test(route))
    expect(listed.sort()).toEqual(served.sort())
  })

  it('has lines for an EventSource that survive the end of a token', async () => {
    const instance = await startInstance({ JWT_CLOCK_TOLERANCE_S: '0' })
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const story = await alice.post()
    const sources: EventSource[] = []
    class Source extends EventSource {
      constructor(path: string) {
        super(new URL(path, instance.url))
        sources.push(this)
      }
    }
    onTestFinished(() => {
      for (const source of sources) source.close()
    })
    const shown: { type: string; seq?: number }[] = []
    const firstEnds = Date.now() + 2500
    const tokens = [await signToken(alice.user, { expiresIn: 2.5 }), alice.token]
    new Function('EventSource', 'getToken', 'show', blocks('js eventsource')[0] ?? '')(
      Source,
      async () => tokens[Date.now() < firstEnds ? 0 : 1],
      (message: { type: string }) => shown.push(message),
    )
    await expect.poll(() => shown.map(({ type }) => type)).toEqual(['stream.open'])
    await bob.view(story)
    await expect.poll(() => sources.length).toBe(2)
    await bob.react(story, '👏')
    await expect.poll(() => shown.flatMap(({ seq }) => seq ?? [])).toEqual([1, 2])
  })

  it('has a WebSocket client that works as it stands', async () => {
    const instance = await startInstance()
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const story = await alice.post()
    const [code = ''] = blocks('js websocket')
    const logged: string[] = []
    const sockets: WebSocket[] = []
    let heard = 0
    class Socket extends WebSocket {
      constructor(url: string) {
        super(url)
        sockets.push(this)
        this.addEventListener('message', () => heard++)
      }
    }
    const run = new Function('WebSocket', 'location', 'getToken', 'show', code.replace('wss:', 'ws:'))
    run(
      Socket,
      new URL(instance.url),
      async () => alice.token,
      (message: { type: string; data: { viewer_id?: string } }) => {
        if (message.type === 'story.viewed') logged.push(`${message.data.viewer_id} looked`)
      },
    )
    onTestFinished(() => {
      for (const socket of sockets) socket.onclose = null
      for (const socket of sockets) socket.close()
    })
    // stream.open
    await expect.poll(() => heard).toBe(1)
    sockets[0]?.close()
    await bob.view(story)
    await expect.poll(() => logged).toEqual([`${bob.user} looked`])
    expect(sockets.length).toBeGreaterThan(1)
  })

  it('opens one stream with a ticket, and not two', async () => {
    const instance = await startInstance({ TOKEN_IN_URL: 'off' })
    onTestFinished(() => instance.close())
    const alice = await instance.caller('alice')
    const { status, json } = await alice.call<{ ticket: string; expires_in: number }>('POST', '/tickets')
    expect([status, json.expires_in]).toEqual([201, 30])
    const knock = async (query: string) => {
      const controller = new AbortController()
      const answer = await fetch(`${instance.url}/events?${query}`, { signal: controller.signal })
      controller.abort()
      return answer.status
    }
    expect(await knock(`ticket=${json.ticket}`)).toBe(200)
    expect(await knock(`ticket=${json.ticket}`)).toBe(401)
    expect(await knock(`token=${alice.token}`)).toBe(401)
  })

  it('tells of what was read and of connections as it says', async () => {
    const instance = await startInstance()
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const stream = await open('sse', { url: instance.url, token: alice.token })
    await bob.view(await alice.post())
    const [event] = await stream.take(1)
    const read = await alice.call('PUT', '/me/read', { cursor: event?.json.id })
    expect(read.json).toEqual({ cursor: event?.json.id, unread: 0 })
    const told = await stream.next('stream.read')
    expect([told.json.data, told.sse?.id]).toEqual([read.json, undefined])
    expect((await alice.call('PUT', '/me/read', { cursor: '0123456789ab.1' })).status).toBe(409)

    const { json } = await alice.call<{ connections: Record<string, string>[] }>('GET', '/me/connections')
    const [connection] = json.connections
    expect(Object.keys(connection ?? {}).sort()).toEqual(['id', 'instance', 'since', 'transport'])
    expect((await alice.call('DELETE', `/me/connections/${connection?.id}`)).status).toBe(204)
    expect((await stream.next('stream.close')).json.data).toMatchObject({
      reason: 'closed',
      reconnect: false,
    })
  })

  it('resumes as it says, on whichever transport', async () => {
    const instance = await startInstance()
    onTestFinished(() => instance.close())
    const [alice, bob] = [await instance.caller('alice'), await instance.caller('bob')]
    const story = await alice.post()
    const first = await open('sse', { url: instance.url, token: alice.token })
    first.cut()
    await bob.view(story)
    await bob.react(story, '👏')
    // A connection that never saw an event resumes from stream.open's cursor.
    const second = await open('ws', { url: instance.url, token: alice.token, lastEventId: first.cursor })
    expect((await second.take(2)).map(({ json }) => json.seq)).toEqual([1, 2])
    const third = await open('poll', { url: instance.url, token: alice.token, lastEventId: '0' })
    expect((await third.take(2)).map(({ json }) => json.seq)).toEqual([1, 2])
  })
})
