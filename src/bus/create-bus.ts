import { StartError } from '../errors.ts'
import type { Bus } from './bus.ts'
import { NatsBus, type NatsBusOptions } from './nats-bus.ts'
import { NatsLink } from './nats-link.ts'
import { CredentialsRefused, type NatsServers } from './nats-servers.ts'
import { PostgresBus, type PostgresBusOptions } from './postgres-bus.ts'
import { Relay, type RelayOptions } from './relay.ts'
import { Subjects } from './subjects.ts'

/** The NATS configuration of a deployment. */
export interface NatsSettings {
  readonly servers: NatsServers
  readonly namespace: string
  /** Whether this process may become the relay. */
  readonly relay: boolean
  readonly lingerMs: number
}

export interface CreateBusOptions
  extends PostgresBusOptions,
    Pick<NatsBusOptions, 'onFallback' | 'onFollowed' | 'onHeard'>,
    Pick<RelayOptions, 'onRelaying' | 'onPublished'> {
  /** Called when NATS is connected, and when the connection is lost. */
  readonly onConnected?: (connected: boolean) => void
  /** Undefined: LISTEN. */
  readonly nats: NatsSettings | undefined
}

/** The configured bus, LISTEN or NATS, behind one interface. */
export function createBus({ nats, ...options }: CreateBusOptions): Bus {
  if (nats === undefined) return new PostgresBus(options)
  const { log, connection, instance } = options
  const link = openLink(nats, log, instance, options.onConnected)
  const subjects = new Subjects(nats.namespace)
  const relay = nats.relay
    ? createRelay(nats, link, { connection, log, name: instance, ...relayHooks(options) })
    : undefined
  const { onRoundTrip: _, onAlive: __, ...listening } = options
  const bus = new NatsBus({
    ...options,
    link,
    subjects,
    openFallback: (clock) => new PostgresBus({ ...listening, clock }),
  })
  return {
    get alive() {
      return bus.alive
    },
    clock: bus.clock,
    follow: (user) => bus.follow(user),
    unfollow: (user) => bus.unfollow(user),
    start: async () => {
      await startLink(link)
      relay?.start()
      await bus.start()
    },
    close: async () => {
      // The relay first, so that another relay gets its lock at once.
      await relay?.close()
      await bus.close()
      await link.close()
    },
  }
}

function relayHooks({ onRelaying, onPublished }: Pick<CreateBusOptions, 'onRelaying' | 'onPublished'>) {
  return {
    ...(onRelaying === undefined ? {} : { onRelaying }),
    ...(onPublished === undefined ? {} : { onPublished }),
  }
}

export function openLink(
  { servers }: NatsSettings,
  log: NatsBusOptions['log'],
  name: string,
  onConnected?: (connected: boolean) => void,
): NatsLink {
  const link = new NatsLink({ servers, name: `glimpse ${name}`, log })
  link.listen({ onUp: () => onConnected?.(true), onDown: () => onConnected?.(false) })
  return link
}

/** @throws StartError if NATS refuses the credentials. If NATS is only away, the link connects in the background */
export async function startLink(link: NatsLink): Promise<void> {
  try {
    await link.start()
  } catch (error) {
    if (!(error instanceof CredentialsRefused)) throw error
    throw new StartError(error.message, { cause: error })
  }
}

export function createRelay(
  { namespace, lingerMs }: NatsSettings,
  link: NatsLink,
  options: Pick<RelayOptions, 'connection' | 'log' | 'name' | 'onRelaying' | 'onPublished'>,
): Relay {
  return new Relay({ ...options, link, subjects: new Subjects(namespace), namespace, lingerMs })
}
