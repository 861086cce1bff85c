import { describe, expect, it } from 'vitest'
import type { Transport } from '../../src/client/index.ts'
import { openFake, pass, tokenOf } from '../support/fake-client.ts'

const TRANSPORTS: readonly Transport[] = ['sse', 'websocket', 'poll']

describe('a token service that', () => {
  it.each([
    ['answers with an error page', '<!doctype html>\n<title>502 Bad Gateway</title>'],
    ['answers with a line of text', 'Bad Gateway'],
    ['answers with JSON', '{"error":"unavailable"}'],
    ['answers with nothing', ''],
    ['answers with what is no text', undefined as unknown as string],
  ])('%s a few times is asked again', async (_, answer) => {
    let asked = 0
    const client = openFake({ getToken: () => (asked++ < 5 ? answer : tokenOf('alice')) })
    await pass(20_000)
    expect(client.stream.state.name).toBe('live')
    expect(client.reasons).toHaveLength(5)
    expect(client.reasons[0]).toMatch(/^no token: /)
    expect(client.reasons.join()).not.toContain('doctype')
    client.service.make('alice')
    await pass(100)
    expect(client.seqs).toEqual([1])
  })

  it('rejects for an hour is asked less and less often, but still asked', async () => {
    let asked = 0
    let away = true
    const client = openFake({
      getToken: async () => {
        asked++
        if (away) throw new TypeError('Failed to fetch')
        return tokenOf('alice')
      },
    })
    await pass(60 * 60_000)
    expect(asked).toBeGreaterThan(100)
    expect(asked).toBeLessThan(1000)
    expect(client.reasons.at(-1)).toBe('no token: Failed to fetch')
    away = false
    await pass(31_000)
    expect(client.stream.state.name).toBe('live')
  })

  it('is away when a token is to be renewed costs nothing before that token expires', async () => {
    let asked = 0
    const client = openFake({
      getToken: () => {
        if (asked++ > 0 && asked < 4) throw new Error('502')
        return tokenOf('alice', { exp: Date.now() / 1000 + 600 })
      },
      transport: 'websocket',
    })
    await pass(600_000)
    expect(asked).toBeGreaterThanOrEqual(4)
    expect(client.reasons).toEqual([])
  })
})

describe.each(TRANSPORTS)('over %s, tokens that the service refuses', (transport) => {
  it('are replaced, with time between, until one is accepted', async () => {
    const why: boolean[] = []
    const client = openFake({
      transport,
      getToken: ({ refused }) => {
        why.push(refused)
        return tokenOf(`${why.length > 4 ? 'alice' : ''}`, { sub: 'alice', jti: why.length })
      },
    })
    client.service.refuse = (token) => (why.length > 4 && token !== '' ? undefined : 401)
    await pass(30_000)
    expect(why).toEqual([false, true, true, true, true])
    expect(client.reasons).toEqual(['status 401', 'status 401', 'status 401'])
    expect(client.stream.state.name).toBe('live')
  })

  it('end the stream after minutes of that, not before', async () => {
    let asked = 0
    const client = openFake({
      transport,
      getToken: () => {
        asked++
        return tokenOf('alice')
      },
    })
    client.service.refuse = () => 401
    await pass(180_000)
    expect(client.ended).toBeUndefined()
    await pass(60_000)
    expect(client.ended).toMatchObject({ reason: 'unauthorized', status: 401 })
    expect(asked).toBeGreaterThan(5)
    expect(asked).toBeLessThan(100)
  })

  it('do not end the stream after one refusal and a long sleep', async () => {
    const client = openFake({ transport, getToken: () => tokenOf('alice') })
    let refusals = 0
    client.service.refuse = () => (refusals++ < 3 ? 401 : undefined)
    await pass(1)
    const { vi } = await import('vitest')
    vi.setSystemTime(Date.now() + 8 * 60 * 60_000)
    await pass(60_000)
    expect(client.ended).toBeUndefined()
    expect(client.stream.state.name).toBe('live')
  })

  it('may only be too early: nbf two seconds ahead of the service’s clock', async () => {
    const started = Date.now()
    const early = tokenOf('alice', { nbf: Math.floor(started / 1000) + 2 })
    const client = openFake({ transport, token: early })
    client.service.refuse = () => (Date.now() < started + 2000 ? 401 : undefined)
    await pass(10_000)
    expect(client.stream.state.name).toBe('live')
    expect(client.reasons[0]).toBe('status 401')
  })

  it('end the stream at once if there is no other token', async () => {
    const client = openFake({ transport, token: tokenOf('alice') })
    client.service.refuse = () => 401
    await pass(1000)
    expect(client.ended).toMatchObject({ reason: 'unauthorized' })
  })

  it('that expire at once are not requested in a loop', async () => {
    let asked = 0
    const client = openFake({
      transport,
      getToken: () => {
        asked++
        return tokenOf('alice')
      },
    })
    for (let i = 0; i < 60; i++) {
      await pass(1000)
      const data = { reason: 'token_expired', reconnect: true, retry_ms: 0 }
      client.service.say({ type: 'stream.close', data })
      client.service.cut()
    }
    expect(asked).toBeLessThan(40)
  })
})
