import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nkeys } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { NatsLink, type NatsLinkOptions } from '../../src/bus/nats-link.ts'
import type { NatsServers } from '../../src/bus/nats-servers.ts'
import { parseNatsUrls } from '../../src/bus/nats-url.ts'
import { createLogger } from '../../src/observability/log.ts'
import { type Certificates, hasOpenssl, makeCertificates } from '../support/certificates.ts'
import { NatsServer, withoutNats } from '../support/nats-server.ts'

const PATIENCE = { timeout: 30_000, interval: 20 }

async function server(options?: Parameters<typeof NatsServer.start>[0]): Promise<NatsServer> {
  const started = await NatsServer.start(options)
  onTestFinished(async () => {
    started.signal('SIGCONT')
    await started.kill()
  })
  return started
}

function link(url: string, servers: Partial<NatsServers> = {}, options: Partial<NatsLinkOptions> = {}) {
  const changes: string[] = []
  const said: string[] = []
  const log = createLogger('silent')
  log.warn = (...args: unknown[]) => void said.push(`${(args[0] as { reason?: string }).reason}`)
  const made = new NatsLink({
    servers: { ca: undefined, credentials: undefined, ...parseNatsUrls(url), ...servers },
    name: 'test',
    log,
    ...options,
  })
  made.listen({ onUp: () => changes.push('up'), onDown: () => changes.push('down') })
  onTestFinished(() => made.close())
  return { link: made, changes, said }
}

describe.skipIf(withoutNats)(`a link to NATS (${withoutNats ?? 'nats-server'})`, () => {
  it('brings what is published, to all who subscribed, and nothing once they have ended', async () => {
    const { url } = await server()
    const [one, two] = [link(url).link, link(url).link]
    await Promise.all([one.start(), two.start()])
    const heard: string[] = []
    const end = one.subscribe('a.b', (text) => heard.push(`one ${text}`))
    two.subscribe('a.b', (text) => heard.push(`two ${text}`))
    await Promise.all([one.roundTrip(20_000), two.roundTrip(20_000)])
    two.publish('a.b', '❤️')
    await expect.poll(() => heard.toSorted(), PATIENCE).toEqual(['one ❤️', 'two ❤️'])
    end()
    await one.roundTrip(20_000)
    two.publish('a.b', 'more')
    await expect.poll(() => heard.length, PATIENCE).toBe(3)
    await one.roundTrip(20_000)
    expect(heard.at(-1)).toBe('two more')
  })

  it('comes back after the server was killed, with its subscriptions; what is published meanwhile is dropped', async () => {
    const nats = await server()
    const { link: made, changes } = link(nats.url)
    expect(await made.start()).toBe(true)
    const heard: string[] = []
    made.subscribe('a', (text) => heard.push(text))
    await nats.kill()
    await expect.poll(() => made.up, PATIENCE).toBe(false)
    made.publish('a', 'lost')
    expect(await made.roundTrip(1000)).toBe(false)
    await nats.launch()
    await expect.poll(() => made.up, PATIENCE).toBe(true)
    made.publish('a', 'heard')
    await expect.poll(() => heard, PATIENCE).toEqual(['heard'])
    expect([changes.slice(0, 2), changes.at(-1)]).toEqual([['up', 'down'], 'up'])
  })

  it('waits for a server that is not there yet', async () => {
    const nats = await server()
    await nats.kill()
    const { link: made, said } = link(nats.url)
    expect(await made.start()).toBe(false)
    expect(said).toEqual([expect.stringMatching(/refused/)])
    await nats.launch()
    await expect.poll(() => made.up, PATIENCE).toBe(true)
  })

  it('leaves a server that is stopped, which gives no sign, for another', async () => {
    const [stopped, other] = [await server(), await server()]
    const { link: made } = link(stopped.url, {}, { proofIntervalMs: 50 })
    const { link: both } = link(`${stopped.url},${other.url}`, {}, { proofIntervalMs: 50 })
    await Promise.all([made.start(), both.start()])
    stopped.signal('SIGSTOP')
    await expect.poll(() => made.up, PATIENCE).toBe(false)
    await expect.poll(() => both.roundTrip(1000), PATIENCE).toBe(true)
    expect(made.up).toBe(false)
    stopped.signal('SIGCONT')
    await expect.poll(() => made.up, PATIENCE).toBe(true)
  })

  it('survives a listener that throws', async () => {
    const { url } = await server()
    const { link: made } = link(url)
    await made.start()
    const heard: string[] = []
    made.subscribe('a', (text) => {
      if (text === 'bad') throw new Error('bad')
      heard.push(text)
    })
    made.publish('a', 'bad')
    made.publish('a', 'good')
    await expect.poll(() => heard, PATIENCE).toEqual(['good'])
  })

  describe('shows who it is', () => {
    it('by user and password, encoded in the URL; others are refused at once', async () => {
      const nats = await server({ args: ['--user', 'ann', '--pass', 'p@ss/:?'] })
      const { link: made } = link(`nats://ann:p%40ss%2F%3A%3F@127.0.0.1:${nats.port}`)
      expect(await made.start()).toBe(true)
      await expect(link(nats.url).link.start()).rejects.toThrow()
      await expect(link(`nats://ann:no@127.0.0.1:${nats.port}`).link.start()).rejects.toThrow()
    })

    it('tells once what the server refuses, without the name of anybody', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'glimpse-nats-'))
      onTestFinished(() => rm(folder, { recursive: true }))
      const config = join(folder, 'nats.conf')
      const deny = 'publish: { deny: ">" }, subscribe: { deny: "glimpse.u.*" }'
      await writeFile(
        config,
        `authorization { users: [ { user: ann, password: secret, permissions: { ${deny} } } ] }`,
      )
      const { port } = await server({ config })
      const reasons: unknown[] = []
      const log = createLogger('silent')
      log.error = (...args: unknown[]) => void reasons.push(args[0])
      const { link: made } = link(`nats://ann:secret@127.0.0.1:${port}`, {}, { log })
      await made.start()
      for (const user of ['one', 'two-2', 'th_ree']) {
        made.subscribe(`glimpse.u.${user}`, () => {})
        made.publish('glimpse.gap', user)
      }
      await expect
        .poll(() => reasons, PATIENCE)
        .toEqual([
          { reason: 'Permissions Violation for Subscription to "glimpse.u.*"' },
          { reason: 'Permissions Violation for Publish to "glimpse.gap"' },
        ])
      await made.roundTrip(10_000)
      expect(reasons).toHaveLength(2)
    })

    it("by an nkey's seed", async () => {
      const [user, other] = [nkeys.createUser(), nkeys.createUser()]
      const folder = await mkdtemp(join(tmpdir(), 'glimpse-nats-'))
      onTestFinished(() => rm(folder, { recursive: true }))
      const config = join(folder, 'nats.conf')
      await writeFile(config, `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }`)
      const { url } = await server({ config })
      const seed = (of: typeof user) => `${new TextDecoder().decode(of.getSeed())}\n`
      expect(await link(url, { credentials: seed(user) }).link.start()).toBe(true)
      await expect(link(url, { credentials: seed(other) }).link.start()).rejects.toThrow()
    })
  })

  describe.skipIf(!hasOpenssl)('encrypted', () => {
    let folder: string
    let certificates: Certificates
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'glimpse-nats-'))
      certificates = makeCertificates(folder, ['localhost', '127.0.0.1'])
    })
    afterAll(() => rm(folder, { recursive: true }))
    const encrypted = () =>
      server({ args: ['--tls', '--tlscert', certificates.cert, '--tlskey', certificates.key] })
    const at = ({ port }: NatsServer) => `tls://localhost:${port}`

    it('trusts the authority of BUS_CA, and no other', async () => {
      const nats = await encrypted()
      expect(await link(at(nats), { ca: await readFile(certificates.ca, 'utf8') }).link.start()).toBe(true)
      const { link: made, said } = link(at(nats))
      expect(await made.start()).toBe(false)
      expect(said).toEqual([expect.stringMatching(/certificate/)])
    })

    it('has the certificate be for the server that it connects to, by name or by address', async () => {
      const ca = (made: Certificates) => readFile(made.ca, 'utf8')
      const [byAddress, byName] = [
        makeCertificates(folder, ['127.0.0.1'], 'address-'),
        makeCertificates(folder, ['localhost'], 'name-'),
      ]
      const start = (made: Certificates) =>
        server({ args: ['--tls', '--tlscert', made.cert, '--tlskey', made.key] })
      for (const [made, good, bad] of [
        [byAddress, '127.0.0.1', 'localhost'],
        [byName, 'localhost', '127.0.0.1'],
      ] as const) {
        const { port } = await start(made)
        expect(await link(`tls://${good}:${port}`, { ca: await ca(made) }).link.start()).toBe(true)
        const refused = link(`tls://${bad}:${port}`, { ca: await ca(made) })
        expect(await refused.link.start()).toBe(false)
        expect(refused.said).toEqual([expect.stringMatching(/altnames|cert's list/i)])
      }
    })

    it('shows no password to a server that does not encrypt', async () => {
      const nats = await server({ args: ['--user', 'ann', '--pass', 'secret'] })
      const { link: made, said } = link(`tls://ann:secret@localhost:${nats.port}`)
      expect(await made.start()).toBe(false)
      expect(said).toEqual([expect.stringMatching(/does not support 'tls'/)])
    })
  })
})
