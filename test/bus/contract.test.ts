import { describe, it } from 'vitest'
import { NatsBus } from '../../src/bus/nats-bus.ts'
import { NatsLink } from '../../src/bus/nats-link.ts'
import { parseNatsUrls } from '../../src/bus/nats-url.ts'
import { PostgresBus } from '../../src/bus/postgres-bus.ts'
import { Relay } from '../../src/bus/relay.ts'
import { Subjects } from '../../src/bus/subjects.ts'
import { createLogger } from '../../src/observability/log.ts'
import { parseConnectionUrl } from '../../src/postgres/connection-url.ts'
import { NatsServer, withoutNats } from '../support/nats-server.ts'
import { busContract, type Implementation, type Opening } from './contract.ts'

const log = createLogger('silent')

const byPostgres = ({ database, ...opening }: Opening) =>
  new PostgresBus({ connection: parseConnectionUrl(database.url), log, ...opening })

const postgres: Implementation = {
  listeners: 'glimpse-listen',
  prepare: async () => ({ open: byPostgres, close: async () => {} }),
}

const nats: Implementation = {
  listeners: 'glimpse-listen',
  prepare: async (database) => {
    const server = await NatsServer.start()
    const links: NatsLink[] = []
    const subjects = new Subjects('test')
    const newLink = async (name: string) => {
      const link = new NatsLink({
        servers: { ca: undefined, credentials: undefined, ...parseNatsUrls(server.url) },
        name,
        log,
      })
      links.push(link)
      await link.start()
      return link
    }
    const relay = new Relay({
      connection: parseConnectionUrl(database.url),
      link: await newLink('relay'),
      subjects,
      namespace: 'test',
      name: 'relay',
      log,
      lingerMs: 10,
    })
    relay.start()
    const spare: NatsLink[] = []
    for (let n = 0; n < 40; n++) spare.push(await newLink(`instance ${n}`))
    return {
      open: (opening) =>
        new NatsBus({
          ...opening,
          link: spare.pop() as NatsLink,
          subjects,
          log,
          openFallback: (clock) => {
            throw new Error(`LISTEN was started in the stead of NATS, at ${clock.now}`)
          },
        }),
      close: async () => {
        await relay.close()
        await Promise.all(links.map((link) => link.close()))
        await server.kill()
      },
    }
  },
}

busContract('LISTEN', postgres)
if (withoutNats === undefined) busContract('NATS', nats)
else describe('a bus by NATS', () => it.skip(withoutNats as string))
