import { isIP } from 'node:net'
import { checkServerIdentity, type ConnectionOptions as TlsConnectionOptions } from 'node:tls'
import type { Authenticator, ConnectionOptions, NatsConnection, TlsOptions } from '@nats-io/transport-node'

/** The NATS servers and how to connect to them. */
export interface NatsServers {
  /** `host:port`, one for each server of the cluster. */
  readonly servers: readonly string[]
  /** Whether TLS is required. If not, it is still used if the server offers it. */
  readonly tls: boolean
  /** Certificate authorities, PEM; undefined: those of Node. */
  readonly ca: string | undefined
  readonly user: string | undefined
  readonly password: string | undefined
  /** The text of a credentials file, or of an nkey's seed. */
  readonly credentials: string | undefined
}

/** NATS refuses our credentials, or they are not valid; waiting does not help. The message names the variable. */
export class CredentialsRefused extends Error {}

/** Loaded on first use, so that it costs nothing without BUS_URL. */
const library = () => import('@nats-io/transport-node')
type Library = Awaited<ReturnType<typeof library>>

/**
 * One connection to the first of the servers that accepts it. It is never repaired.
 *
 * @throws CredentialsRefused
 */
export async function connectToNats(
  servers: NatsServers,
  name: string,
  timeoutMs: number,
): Promise<NatsConnection> {
  const nats = await library()
  const authenticator = authenticatorOf(nats, servers)
  const encrypted = servers.tls || servers.ca !== undefined
  const options: ConnectionOptions = {
    servers: [...servers.servers],
    name,
    timeout: timeoutMs,
    reconnect: false,
    noAsyncTraces: true,
    ...(authenticator === undefined ? {} : { authenticator }),
    ...(servers.user === undefined ? {} : { user: servers.user, pass: servers.password ?? '' }),
    ...(encrypted ? { tls: tlsOptions(servers) as TlsOptions } : {}),
  }
  return nats.connect(options).catch((error: Error) => {
    // An nkey's seed is read when the server asks for a signature.
    if (error.message.startsWith('nkeys: '))
      throw new CredentialsRefused(`BUS_CREDENTIALS: the file holds no nkey's seed (${error.message})`, {
        cause: error,
      })
    if (error instanceof nats.AuthorizationError || error instanceof nats.UserAuthenticationExpiredError)
      throw new CredentialsRefused(
        'BUS_URL, BUS_CREDENTIALS: NATS refuses the credentials; give the user and password of its configuration, or a ' +
          'credentials file',
        { cause: error },
      )
    throw error
  })
}

/**
 * As text: if the library reads a file, it does so between TCP and TLS, while the socket has no error listener. For a server
 * that is named by its address, the library has the certificate checked against "localhost".
 */
function tlsOptions({ servers, ca }: NatsServers): TlsConnectionOptions {
  const nameless = servers.map(hostOf).filter((host) => isIP(host) !== 0 || host === 'localhost')
  return {
    ...(ca === undefined ? {} : { ca }),
    checkServerIdentity: (host, certificate) => {
      if (host !== 'localhost') return checkServerIdentity(host, certificate)
      const problems = nameless.map((each) => checkServerIdentity(each, certificate))
      return problems.includes(undefined) ? undefined : problems[0]
    },
  }
}

/** The host of `host:port`, an IPv6 address without its brackets. */
function hostOf(server: string): string {
  return server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, '')
}

function authenticatorOf(nats: Library, { credentials }: NatsServers): Authenticator | undefined {
  if (credentials === undefined) return undefined
  const bytes = new TextEncoder().encode(credentials.trim())
  return credentials.includes('BEGIN NATS USER JWT')
    ? nats.credsAuthenticator(bytes)
    : nats.nkeyAuthenticator(bytes)
}
