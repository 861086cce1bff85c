import { describe, expect, it, vi } from 'vitest'
import { KeySetServer } from '../support/key-set-server.ts'
import { HOUR, keySetWorld, MINUTE, SECOND } from '../support/key-set-world.ts'

/** Every way in which an endpoint can fail; `keys` is what it would answer if it were well. */
const FAILURES: [string, (server: KeySetServer, keys: string) => unknown][] = [
  ['refuses connections', (server) => server.close()],
  ['cuts them', (server) => server.answer((response) => response.destroy())],
  ['never answers', (server) => server.answer(() => {})],
  ['stops half-way', (server, keys) => server.answer((response) => response.write(keys.slice(0, -9)))],
  [
    'answers 500 with good keys in it',
    (server, keys) => server.answer((response) => response.writeHead(500).end(keys)),
  ],
  ['answers something else', (server) => server.answer('<!doctype html>')],
  ['answers JSON of another shape', (server) => server.answer('{"keys":{}}')],
  ['answers keys without a type', (server) => server.answer('{"keys":[{}]}')],
  ['answers a list', (server, keys) => server.answer(`[${keys}]`)],
  [
    'answers too many keys',
    (server, keys) => server.answer(JSON.stringify({ keys: Array(101).fill(JSON.parse(keys).keys[0]) })),
  ],
  [
    'answers more than 256 KiB',
    (server, keys) => server.answer(keys.replace('}]}', `,"x":"${'x'.repeat(256 * 1024)}"}]}`)),
  ],
]

describe.each(FAILURES)('an endpoint that %s', (_, breakIt) => {
  const world = keySetWorld(SECOND)
  const keys = () => JSON.stringify({ keys: [world.one.jwk] })

  it('leaves the last good keys working for 24 hours, and no longer', async () => {
    const known = await world.tokenOf(world.one, 'known')
    await world.verifier.verify(known)
    await breakIt(world.server, keys())
    world.now += 10 * MINUTE
    await world.verifier.warm()
    world.now += 1 * HOUR
    expect(world.verifier.cached(known)).toMatchObject({ user: 'known' })
    await world.verifier.verify(await world.tokenOf(world.one, 'fresh'))
    world.now += 22 * HOUR + 50 * MINUTE - 1
    expect(world.verifier.cached(known)).toBeDefined()
    world.now += 1
    expect(world.verifier.cached(known)).toBeUndefined()
    await world.unavailable(known)
  })

  it('refuses nobody before there are keys, but asks to try again', async () => {
    await breakIt(world.server, keys())
    await expect(world.verifier.verify(await world.tokenOf(world.one))).rejects.toMatchObject({
      code: 'unavailable',
      details: { retryAfter: 1 },
    })
  })
})

describe('while the endpoint is down', () => {
  const world = keySetWorld()

  it('it is asked once per pause, however many tokens come, and the pauses grow to 30 seconds', async () => {
    world.server.answer((response) => response.writeHead(503).end())
    const token = await world.tokenOf(world.one)
    let expected = 0
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      await Promise.all(Array.from({ length: 20 }, () => world.unavailable(token)))
      expected += 1
      world.now += seconds * SECOND - 1
      await world.unavailable(token)
      expect(world.server.requests).toBe(expected)
      world.now += 1
    }
    world.server.publish(world.one)
    await world.verifier.verify(token)
    expect(world.logged.at(-1)).toContain('key set fetched')
  })

  it('tokens of known keys never wait for it', async () => {
    await world.verifier.verify(await world.tokenOf(world.one))
    world.server.answer((response) => response.writeHead(503).end())
    world.now += 10 * MINUTE
    await world.verifier.warm()
    // From here on a fetch takes longer than this test may.
    world.server.answer(() => {})
    world.now += 1 * HOUR
    await world.verifier.verify(await world.tokenOf(world.one, 'bob'))
    await vi.waitFor(() => expect(world.server.requests).toBe(3), 20_000)
  }, 15_000)

  it('it is asked every 30 seconds at most while there are keys, which serve on', async () => {
    const token = await world.tokenOf(world.one)
    await world.verifier.verify(token)
    world.server.answer((response) => response.writeHead(503).end())
    world.now += 10 * MINUTE
    await world.verifier.warm()
    expect(world.server.requests).toBe(2)
    world.now += 30 * SECOND - 1
    expect(world.verifier.cached(token)).toBeDefined()
    await world.verifier.warm()
    expect(world.server.requests).toBe(2)
    world.now += 1
    expect(world.verifier.cached(token)).toBeDefined()
    await world.verifier.warm()
    expect(world.server.requests).toBe(3)
  })

  it('nothing of that is left once it is back: a quiet time makes the next token wait again', async () => {
    const token = await world.tokenOf(world.one)
    world.server.answer((response) => response.writeHead(503).end())
    await world.unavailable(token)
    world.server.publish(world.one)
    world.now += 1 * SECOND
    await world.verifier.verify(token)
    world.server.publish(world.two)
    world.now += 3 * HOUR
    await world.refused(token)
  })

  it('a new key gets in as soon as it is back', async () => {
    await world.verifier.verify(await world.tokenOf(world.one))
    world.server.answer((response) => response.writeHead(503).end())
    await world.refused(await world.tokenOf(world.two))
    world.server.publish(world.one, world.two)
    world.now += 30 * SECOND
    await world.verifier.verify(await world.tokenOf(world.two))
  })

  it('warm() resolves and logs a warning without what is secret in the URL', async () => {
    const url = new URL(world.server.url)
    url.username = 'someone'
    url.password = 'hidden'
    url.search = '?key=hidden'
    world.server.answer('nonsense')
    await world.restart([url.href])
    await world.verifier.warm()
    expect(world.logged).toHaveLength(1)
    expect(world.logged[0]).toContain('key set cannot be fetched')
    expect(world.logged[0]).toContain('"level":40')
    expect(world.logged[0]).not.toContain('hidden')
  })
})

describe('the fetch itself', () => {
  const world = keySetWorld()

  it('does not follow redirects', async () => {
    const elsewhere = await KeySetServer.start(world.one)
    try {
      for (const status of [301, 302, 307]) {
        world.server.answer((response) => response.writeHead(status, { location: elsewhere.url }).end())
        world.now += 1 * MINUTE
        await world.unavailable(await world.tokenOf(world.one))
      }
      expect(world.server.requests).toBe(3)
      expect(elsewhere.requests).toBe(0)
    } finally {
      await elsewhere.close()
    }
  })

  it('stops reading a body without end', async () => {
    let written = 0
    let closed = false
    world.server.answer((response) => {
      const pour = () => {
        while (!closed && response.write('x'.repeat(65_536))) written += 65_536
      }
      response.on('drain', pour).on('close', () => {
        closed = true
      })
      pour()
    })
    await world.unavailable(await world.tokenOf(world.one))
    await vi.waitFor(() => expect(closed).toBe(true), 20_000)
    expect(written).toBeLessThan(32 * 1024 * 1024)
  })

  it('passes over keys of kinds it does not know', async () => {
    world.server.answer(JSON.stringify({ keys: [{ kty: 'AKP', kid: 'future' }, world.one.jwk] }))
    await world.verifier.verify(await world.tokenOf(world.one))
  })
})
