import { describe, expect, it, onTestFinished } from 'vitest'
import { Caller, call } from '../support/api.ts'
import { closing, open, TRANSPORTS } from '../support/clients/index.ts'
import { openSse } from '../support/clients/sse.ts'
import { openWebSocket } from '../support/clients/websocket.ts'
import { createDatabase } from '../support/database.ts'
import { spawnInstance } from '../support/instance.ts'
import { signToken, TEST_SECRET } from '../support/token.ts'

describe('the log at its most talkative', () => {
  it('has no token, no cookie, no secret and no password in any line', async () => {
    const database = await createDatabase()
    const main = await spawnInstance({
      DATABASE_URL: database.url,
      LOG_LEVEL: 'trace',
      DRAIN_TIMEOUT_MS: '100',
      HEARTBEAT_INTERVAL_MS: '100',
    })
    onTestFinished(async () => {
      await main.kill('SIGKILL')
      await database.drop()
    })
    const { url } = main
    const sign = (user: string) => signToken(user)
    const [good, inQuery, inCookie, refresh, bobs] = await Promise.all(['a', 'a', 'a', 'a', 'b'].map(sign))
    const bad = await Promise.all([
      signToken('expired', { expiresIn: -60 }),
      signToken('forged', { secret: 'x'.repeat(40) }),
      signToken('bell\u0007'),
    ])
    const alice = new Caller(url, 'a', good ?? '')
    const bob = new Caller(url, 'b', bobs ?? '')

    for (const transport of TRANSPORTS) await open(transport, alice)
    await closing(openSse({ url, path: `/events?token=${inQuery}` }))
    const headers = { cookie: `glimpse_token=${inCookie}`, origin: url }
    await closing(openSse({ url, headers }))
    const socket = await closing(openWebSocket({ url, headers }))
    socket.send({ type: 'auth', token: refresh })
    const story = await alice.post()
    await bob.view(story)
    await socket.take(1)
    socket.send({ type: 'auth', token: bobs })
    await socket.closed
    for (const token of bad) {
      await open('ws', { url, token }).catch(() => {})
      await open('undici WebSocket', { url, token }).catch(() => {})
      expect((await call(url, `/events?token=${token}`)).status).toBe(401)
      expect((await call(url, `/nowhere?token=${token}`, { token })).status).toBe(404)
      expect((await call(url, '/stories', { method: 'POST', token, json: {} })).status).toBe(401)
      await call(url, '/stories', { method: 'POST', token: alice.token, json: { text: { token } } })
    }
    const issued = await call<{ token: string }>(url, '/dev/tokens', { method: 'POST', json: { user: 'c' } })
    expect((await main.kill('SIGTERM')).code).toBe(0)

    expect(main.lines.length).toBeGreaterThan(3)
    const tokens = [good, inQuery, inCookie, refresh, bobs, issued.json.token, ...bad]
    const secrets = [...tokens.flatMap((token) => [token, token?.split('.')[2]]), TEST_SECRET]
    const password = new URL(database.url).password
    for (const secret of password === '' ? secrets : [...secrets, password]) {
      expect(secret).toBeTruthy()
      expect(main.output.includes(secret ?? '')).toBe(false)
    }
  })
})
