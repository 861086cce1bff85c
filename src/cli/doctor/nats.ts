import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import { unseal } from '../../bus/envelope.ts'
import { CredentialsRefused, connectToNats, type NatsServers } from '../../bus/nats-servers.ts'
import { BEAT_PREFIX } from '../../bus/relay.ts'
import { holderOf } from '../../bus/relay-lock.ts'
import { Subjects } from '../../bus/subjects.ts'
import type { Config } from '../../config.ts'
import type { Session } from '../../postgres/session.ts'
import { openDatabase } from './connection.ts'
import { type Finding, ok, problem, skipped, warning } from './finding.ts'
import { checkRights, type Role } from './nats-rights.ts'

const CONNECT_TIMEOUT_MS = 3000
/** More than the interval of canaries, so that an instance of another database in the same namespace is heard meanwhile. */
const LISTEN_MS = 2000

type Bus = NonNullable<Config['bus']>

/**
 * NATS: each server of BUS_URL, the rights of these credentials, whether a notification makes the way through the relay to
 * here, and whether another database uses the same namespace.
 *
 * @param role what the process is that has these variables
 */
export async function checkNats(config: Config, role: Role): Promise<readonly Finding[]> {
  const { bus } = config
  if (bus === undefined) return [skipped('nats', 'BUS_URL is not set: instances listen to Postgres')]
  const { findings, connection } = await checkServers(bus.servers)
  if (connection === undefined)
    return [...findings, skipped('nats rights', 'without NATS nothing more can be looked at')]
  try {
    const rights = await checkRights(connection, bus, role, config.production)
    return [...findings, ...rights, ...(await checkWay(config, bus, role, connection))]
  } finally {
    await connection.close()
  }
}

/** Connects to each server alone: a cluster that has lost one works, but somebody should know. */
async function checkServers(
  servers: NatsServers,
): Promise<{ findings: Finding[]; connection: NatsConnection | undefined }> {
  const tried = await Promise.all(
    servers.servers.map(async (server) => {
      try {
        const one = { ...servers, servers: [server] }
        const connection = await connectToNats(one, 'glimpse doctor', CONNECT_TIMEOUT_MS)
        return { server, connection, info: connection.info }
      } catch (error) {
        return { server, error: error as Error }
      }
    }),
  )
  const [first, ...others] = tried.flatMap(({ connection }) => connection ?? [])
  await Promise.all(others.map((other) => other.close()))
  const findings = tried.map(({ server, connection, info, error }) => {
    if (connection !== undefined) {
      const { version, tls_required, tls_available } = info ?? {}
      const encrypted = tls_required === true || tls_available === true
      return ok('nats', `${server} accepts us (nats-server ${version}${encrypted ? ', encrypted' : ''})`)
    }
    const { says, fix } = explain(server, servers, error as Error)
    return first === undefined ? problem('nats', says, fix) : warning('nats', says, fix)
  })
  return { findings, connection: first }
}

/** How to fix a connection that failed, by the code of the error. */
const FIXES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there: start nats-server, or correct host and port in BUS_URL',
  ENOTFOUND: 'correct the host in BUS_URL: there is no such name',
  EAI_AGAIN: 'correct the host in BUS_URL, or fix name resolution on this machine',
  EHOSTUNREACH: 'no route leads there: look at network and firewall',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'connect by a name that is in the certificate, or give the server a certificate for this one',
  CERT_HAS_EXPIRED: 'renew the certificate of nats-server',
  CERT_NOT_YET_VALID: 'correct the clock of this machine or of the one that made the certificate',
}
const UNTRUSTED =
  'set BUS_CA to the certificate of the authority that signed the certificate of nats-server (a PEM file)'

function explain(server: string, servers: NatsServers, error: Error): { says: string; fix: string } {
  const codes = [error, error.cause as Error | undefined].flatMap(
    (one) => (one as NodeJS.ErrnoException | undefined)?.code ?? [],
  )
  if (error instanceof CredentialsRefused) {
    if (servers.credentials !== undefined)
      return {
        says: `${server} refuses BUS_CREDENTIALS: ${(error.cause as Error).message}`,
        fix: "name the credentials file of a user of this server, or a file with the seed of such a user's nkey",
      }
    return servers.user === undefined
      ? {
          says: `${server} asks for credentials, and BUS_URL has none`,
          fix: 'put user and password into BUS_URL (tls://user:password@…), or set BUS_CREDENTIALS',
        }
      : {
          says: `${server} refuses the user or the password in BUS_URL`,
          fix: 'use those in the configuration of nats-server; deploy/nats.conf takes its passwords from its environment',
        }
  }
  const says = `BUS_URL: ${server} cannot be reached: ${error.message.split('\n')[0]}`
  if (/does not support 'tls'/.test(error.message))
    return {
      says,
      fix: 'give nats-server a certificate (block tls of its configuration); nats:// instead of tls:// only on this machine',
    }
  if (error.name === 'TimeoutError')
    return {
      says,
      fix: 'it is silent: look at the firewall between here and there, and whether this is the port for clients of NATS (4222) at all',
    }
  const known = codes.map((code) => FIXES[code]).find((fix) => fix !== undefined)
  if (known !== undefined) return { says, fix: known }
  return {
    says,
    fix: /certificate|issuer/i.test(error.message)
      ? UNTRUSTED
      : 'make the URL in BUS_URL work from this machine',
  }
}

/** Sends a notification as writers do, and waits for it as an instance does. */
async function checkWay(
  config: Config,
  { namespace, relay }: Bus,
  role: Role,
  connection: NatsConnection,
): Promise<Finding[]> {
  // A relay may have LISTEN_DATABASE_URL alone.
  const database = config.database ?? config.listenDatabase
  const subjects = new Subjects(namespace)
  if (database === undefined) return [skipped('nats relay', 'DATABASE_URL is not set')]
  let session: Session
  try {
    session = await openDatabase(database, database === config.database ? config.databasePooler : 'none')
  } catch {
    return [skipped('nats relay', 'without the database it cannot be tried')]
  }
  try {
    const { sql } = session
    const rows = await sql<{ epoch: string; channel: string }[]>`
      select glimpse.epoch() as epoch, channel from glimpse.history`.catch(() => [])
    const [here] = rows
    if (here === undefined) return [skipped('nats relay', 'the schema is not there yet, or may not be read')]

    const name = `doctor ${randomBytes(9).toString('hex')}`
    const foreign = new Set<string>()
    let cameMs: number | undefined
    let beats = 0
    const sentAt = performance.now()
    const hear = (subject: string, onText: (text: string) => void) =>
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) onText(message.string())
        },
      })
    const hearEpoch = (epoch: string) => {
      // Empty is what a doctor publishes to try its rights.
      if (epoch !== '' && epoch !== here.epoch) foreign.add(epoch)
    }
    if (role === 'instance') {
      hear(subjects.instance(name), (text) => {
        if (unseal(text).epoch === here.epoch) cameMs ??= performance.now() - sentAt
      })
      // Canaries of all instances, of which each begins with the epoch of its database.
      hear(`${namespace}.i.*`, (text) => hearEpoch(unseal(text).epoch))
    }
    hear(subjects.beat, (text) => {
      if (!text.startsWith(BEAT_PREFIX)) return
      const epoch = text.slice(BEAT_PREFIX.length)
      if (epoch === here.epoch) beats++
      hearEpoch(epoch)
    })
    await connection.flush()
    await sql`select pg_notify(${here.channel}, ${`\t${name}\tdoctor`})`
    await sleep(LISTEN_MS)
    const findings: Finding[] = []
    if (foreign.size > 0)
      findings.push(
        problem(
          'nats namespace',
          `another database uses BUS_NAMESPACE ${namespace} on these NATS servers too`,
          'give each database its own BUS_NAMESPACE, on all its instances and relays, and in the rights of NATS',
        ),
      )
    else findings.push(ok('nats namespace', `no other database was heard in ${namespace}`))
    const came = role === 'relay' ? beats > 0 : cameMs !== undefined
    const found = came ? undefined : await holderOf(sql, namespace)
    findings.push(relayFinding({ came, cameMs, holder: found, namespace, role, relay }))
    return findings
  } finally {
    await session.end()
  }
}

function relayFinding({
  came,
  cameMs,
  holder,
  namespace,
  role,
  relay,
}: {
  readonly came: boolean
  readonly cameMs: number | undefined
  readonly holder: number | undefined
  readonly namespace: string
  readonly role: Role
  readonly relay: boolean
}): Finding {
  const check = 'nats relay'
  if (came)
    return ok(
      check,
      cameMs === undefined
        ? 'a relay works for this database'
        : `a notification came back through the relay in ${Math.ceil(cameMs)} ms`,
    )
  if (holder !== undefined)
    return problem(
      check,
      `a relay works for this database (Postgres process ${holder}), but nothing of it is heard here`,
      'give it and this process the same servers in BUS_URL, and see its log; pg_stat_activity shows its client_addr',
    )
  if (role === 'relay' || relay)
    return skipped(
      check,
      `no relay works now for this database and ${namespace}; this process would, once it runs`,
    )
  return warning(
    check,
    `no relay works for this database and BUS_NAMESPACE ${namespace}: instances listen to Postgres meanwhile`,
    'start glimpse relay, or set BUS_RELAY=on at some instance; if one runs, it has another BUS_NAMESPACE or database',
  )
}
