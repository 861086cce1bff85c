import { describe, expect, it, vi } from 'vitest'
import { SignedOutError, type Transport } from '../../src/client/index.ts'
import { openFake, pass, tokenOf } from '../support/fake-client.ts'
import { FakeService } from '../support/fake-service.ts'

const TRANSPORTS: readonly Transport[] = ['sse', 'websocket', 'poll']
const MALLORY = { reason: 'another_user' }

/** Tokens that last a minute, and from the `from`th on are another user's. */
function changing(from: number) {
  let given = 0
  return () => tokenOf(given++ < from ? 'alice' : 'mallory', { exp: Date.now() / 1000 + 60 })
}

describe.each(TRANSPORTS)('over %s, the token of another user', (transport) => {
  it('ends the stream before any event of theirs when the token is renewed', async () => {
    const client = openFake({ transport, getToken: changing(1), onEvent: () => {} })
    await pass(1000)
    client.service.make('alice')
    client.service.make('mallory', 3)
    await pass(5000)
    expect(client.seqs).toEqual([1])
    await pass(60_000)
    expect(client.ended).toMatchObject(MALLORY)
    client.service.make('mallory', 3)
    await pass(60_000)
    expect(client.seqs).toEqual([1])
    expect(client.service.asked.filter((request) => request === 'ws auth')).toEqual([])
  })

  it('ends the stream before any event of theirs when it reconnects', async () => {
    const client = openFake({ transport, getToken: changing(1) })
    await pass(1000)
    client.service.make('mallory', 3)
    // The service refuses the first token from now on, and every connection is lost.
    client.service.refuse = (token) => (token.includes(btoa('mallory').slice(0, 4)) ? undefined : 401)
    client.service.cut()
    await pass(10_000)
    expect(client.ended).toMatchObject(MALLORY)
    expect(client.seqs).toEqual([])
  })

  it('ends the stream when the caller sets it', async () => {
    const client = openFake({ transport })
    await pass(1000)
    client.service.make('mallory', 3)
    client.stream.setToken(tokenOf('mallory'))
    await pass(1000)
    expect(client.ended).toMatchObject(MALLORY)
    expect(client.seqs).toEqual([])
    expect(client.service.open).toBe(0)
  })

  it('is known by the claim that the service uses', async () => {
    const sub = { exp: 4e9, sub: 'one client for all' }
    const token = tokenOf('', { ...sub, uid: 'alice' })
    const client = openFake({ transport, token, userClaim: 'uid' })
    await pass(1000)
    client.stream.setToken(tokenOf('', { ...sub, uid: 'mallory' }))
    await pass(1000)
    expect(client.ended).toMatchObject(MALLORY)
  })

  it('continues with another token of the same user that the caller sets', async () => {
    const client = openFake({ transport, timing: { pollIntervalMs: 100 } })
    await pass(1000)
    client.service.make('alice')
    await pass(1000)
    client.stream.setToken(` ${tokenOf('alice', { jti: 2 })}\n`)
    await pass(1000)
    client.service.make('alice')
    await pass(1000)
    expect(client.seqs).toEqual([1, 2])
    expect(client.reasons).toEqual([])
    if (transport === 'websocket') expect(client.service.asked).toContain('ws auth')
  })
})

describe('signing out', () => {
  const ways: Record<string, () => string | null> = {
    'getToken gives null': () => null,
    'getToken throws a SignedOutError': () => {
      throw new SignedOutError()
    },
    'getToken throws one of another copy of the client': () => {
      throw Object.assign(new Error(), { name: 'SignedOutError' })
    },
  }
  it.each(Object.entries(ways))('ends the stream without an error if %s', async (_, signedOut) => {
    for (const transport of TRANSPORTS) {
      let given = 0
      const client = openFake({
        transport,
        getToken: () => (given++ === 0 ? tokenOf('alice', { exp: Date.now() / 1000 + 60 }) : signedOut()),
      })
      await pass(50_000)
      expect(client.ended).toBe(true)
      expect(client.states.at(-1)).toEqual({ name: 'closed', reason: 'signed_out' })
      expect(client.service.open).toBe(0)
    }
  })

  it('is what setToken(null) does', async () => {
    const client = openFake()
    await pass(1000)
    client.stream.setToken(null)
    await pass(1000)
    expect(client.ended).toBe(true)
    expect(client.states.at(-1)).toEqual({ name: 'closed', reason: 'signed_out' })
  })
})

describe('setToken', () => {
  const fresh = tokenOf('alice', { jti: 2 })

  it.each<[Transport, asked: string]>([
    ['sse', 'GET /events'],
    ['poll', 'GET /events'],
    ['websocket', 'POST /tickets'],
    ['websocket', 'GET /ws'],
  ])('is not lost while the client connects over %s: %s', async (transport, moment) => {
    const service = new FakeService()
    let client: ReturnType<typeof openFake> | undefined
    const begun = (request: string) => {
      if (client?.stream.state.name === 'connecting' && request.startsWith(moment))
        client.stream.setToken(fresh)
    }
    const tickets: boolean[] = []
    service.intercept = (request, { headers }) => {
      if (request === 'POST /tickets')
        tickets.push(new Headers(headers).get('authorization') === `Bearer ${fresh}`)
      begun(request)
      return undefined
    }
    const Socket = service.webSocket()
    class WebSocket extends Socket {
      constructor(address: string) {
        super(address)
        begun('GET /ws')
      }
    }
    client = openFake({ transport, WebSocket, timing: { pollIntervalMs: 500 } }, service)
    await pass(2000)
    expect(client.stream.state.name).toBe('live')
    // The ticket of the last socket was for the new one.
    if (transport === 'websocket') expect(tickets).toEqual([false, true])
    service.refuse = (token) => (token === fresh ? undefined : 401)
    service.cut()
    await pass(2000)
    expect(client.stream.state.name).toBe('live')
  })

  it('is not lost while the module that shares tabs loads', async () => {
    const client = openFake({ share: 'tabs' })
    const tokens: string[] = []
    client.service.refuse = (token) => void tokens.push(token)
    await pass(0)
    expect(client.stream.state.name).toBe('connecting')
    client.stream.setToken(fresh)
    await vi.dynamicImportSettled()
    await pass(1000)
    expect(tokens).toEqual([fresh])
  })

  it('while a mark is refused has it sent again with the new one', async () => {
    const client = openFake()
    await pass(1000)
    client.service.make('alice')
    await pass(1000)
    client.service.intercept = () => {
      client.stream.setToken(fresh)
      return undefined
    }
    client.service.refuse = (token) => (token === fresh ? undefined : 401)
    await client.stream.markRead()
    expect(client.service.read.get('alice')).toBe(1)
  })

  it('rejects text that is not a token', async () => {
    const client = openFake()
    await pass(1000)
    expect(() => client.stream.setToken('<!doctype html>')).toThrow(TypeError)
    expect(client.stream.state.name).toBe('live')
  })
})
