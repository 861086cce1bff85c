import { setTimeout as sleep } from 'node:timers/promises'
import { developmentSecret } from './auth/development-secret.ts'
import { issueToken } from './auth/issue-token.ts'
import { createTokenVerifier } from './auth/verifier.ts'
import type { Bus } from './bus/bus.ts'
import { createBus } from './bus/create-bus.ts'
import type { Config } from './config.ts'
import { startEmbeddedPostgres } from './embedded/index.ts'
import type { App } from './http/context.ts'
import { INFO } from './http/documents/info.ts'
import { listen, stopListening } from './http/listen.ts'
import { ADMIN_ROUTES } from './http/routes.ts'
import { createHttpServer, type HttpServer } from './http/server.ts'
import { Hub } from './hub/hub.ts'
import { Gate } from './limits/gate.ts'
import { Limits } from './limits/limits.ts'
import { Pressure } from './limits/pressure.ts'
import { Turns } from './limits/turns.ts'
import { registerGauges } from './observability/gauges.ts'
import { instanceOf, type Logger } from './observability/log.ts'
import { countRelay, createMetrics } from './observability/metrics.ts'
import { createTracing } from './observability/tracing.ts'
import { type ConnectionOptions, parseConnectionUrl } from './postgres/connection-url.ts'
import { CONNECTIONS, Database, DEADLINES } from './postgres/database.ts'
import { createBatchers, WritePools } from './store/batchers.ts'
import { Canary } from './store/canary.ts'
import { EventLog } from './store/event-log.ts'
import { EventQueue } from './store/event-queue.ts'
import { migrate } from './store/migrate.ts'
import { Presence } from './store/presence.ts'
import { checkDatabase, checkPoolers } from './store/requirements.ts'
import { Cleaner } from './store/retention.ts'
import { StoryScout } from './store/stories.ts'
import { Tickets } from './store/tickets.ts'
import { WebSocketTransport } from './transport/websocket.ts'
import { UndoStack, within } from './undo.ts'

/** A running instance. */
export interface Service {
  /** The URL on which it listens, such as `http://127.0.0.1:8080`. */
  readonly url: string
  /** The URL of health and metrics, if ADMIN_PORT is set. */
  readonly adminUrl: string | undefined
  /** Stops as on SIGTERM: it is unready at once, ends the streams over the drain time, answers writes, then closes. */
  drain(): Promise<void>
  /** Stops at once. */
  close(): Promise<void>
}

/** Bounds how late an event is whose NOTIFY was lost. */
const SWEEP_INTERVAL_MS = 4000

/** Share of the drain time over which streams are ended; the rest is for pending writes and closing. */
const SPREAD = 0.8
/** The most time for closing if Postgres or a client does not answer, ms; and the share of the drain time for it. */
const CLOSE_MS = 1000
const CLOSING = 0.1

/** Polls of one user that are answered at a time. */
const POLLS_AT_ONCE = 2

/**
 * Starts an instance: database, migrations, bus, then HTTP. If a step fails, all earlier steps are undone.
 *
 * @param signal aborts the start, whatever it waits for: all steps are undone within a second
 * @throws StartError one line for the operator; the signal's reason if it was aborted
 */
export async function startService(config: Config, log: Logger, signal?: AbortSignal): Promise<Service> {
  const undo = new UndoStack((what, error) => log.warn({ err: error, what }, 'a part could not be closed'))
  try {
    return await start(config, log, undo, signal)
  } catch (error) {
    await undo.undo(CLOSE_MS)
    throw error
  }
}

async function start(
  config: Config,
  log: Logger,
  undo: UndoStack,
  signal: AbortSignal | undefined,
): Promise<Service> {
  const metrics = createMetrics()
  const tracing = createTracing()
  const { connection, listen: listenConnection } = await openDatabase(config, log, undo, signal)

  const database = new Database(connection, {
    pooler: config.databasePooler,
    onFailure: (purpose, kind, err) => {
      metrics.databaseFailures.inc({ kind })
      if (kind === 'fault') log.error({ purpose, err }, 'a statement failed for good')
    },
  })
  const pool = (purpose: Exclude<keyof typeof DEADLINES, 'write'>) =>
    database.open(purpose, { max: CONNECTIONS[purpose], deadlineMs: DEADLINES[purpose] })
  const readPool = pool('read')
  const canary = new Canary(pool('canary'))
  undo.push('database', (leftMs) => database.end({ timeout: leftMs / 1000 }))
  await unlessAborted(signal, checkDatabase(readPool))

  const secrets =
    config.auth.secrets.length + config.auth.jwksUrls.length > 0
      ? config.auth.secrets
      : [await developmentSecret(config.dataDir)]
  const verifier = createTokenVerifier({ ...config.auth, secrets, log })
  undo.push('key sets', () => verifier.close())
  void verifier.warm()

  const presence = new Presence({
    pool: pool('presence'),
    instance: instanceOf(log),
    maxConnectionsPerUser: config.maxConnectionsPerUser,
    databaseNow: () => bus.clock.now ?? Date.now(),
    onOrder: ({ user, id, reason }) => hub.end(user, id, reason),
    log,
    metrics,
  })
  undo.push('presence', (leftMs) => presence.stop(leftMs))

  const eventLog = new EventLog(pool('log'), (error) =>
    log.error({ err: error }, 'the events of a stream cannot be read; its clients are sent stream.reset'),
  )
  const hub = new Hub({
    eventLog,
    limits: config,
    clock: { wall: Date.now, monotonic: () => performance.now() },
    presence,
    interest: { follow: (user) => bus.follow(user), unfollow: (user) => bus.unfollow(user) },
    log,
    metrics,
  })
  undo.push('streams', () => hub.close())

  const queue = new EventQueue({ sql: pool('queue'), log, metrics })
  undo.push('queue', () => queue.stop())

  const bus: Bus = createBus({
    nats: config.bus,
    connection: listenConnection,
    log,
    instance: instanceOf(log),
    notify: async (payload) => {
      const { queueUsage, ...shown } = await canary.send(payload)
      metrics.notifyQueueUsage.set(queueUsage)
      return shown
    },
    onRoundTrip: (milliseconds) => metrics.busRoundTrip.observe(milliseconds / 1000),
    onReplaced: () => metrics.busReplaced.inc(),
    onAlive: (alive) => metrics.busAlive.set(alive ? 1 : 0),
    onFallback: (active) => metrics.busFallback.set(active ? 1 : 0),
    onFollowed: (milliseconds) => metrics.busFollow.observe(milliseconds / 1000),
    onHeard: (messages) => metrics.busHeard.inc(messages),
    ...countRelay(metrics.relay),
    listener: {
      recipient: (user) => hub.subscriber(user),
      onHandedOn: (sentAt, traced) => {
        const { now } = bus.clock
        if (now === undefined) return
        // The clocks are not exact: an event may seem to arrive before it was sent.
        const ageMs = (microseconds: number) => Math.max(now - microseconds / 1000, 0)
        metrics.delivery.observe(ageMs(sentAt) / 1000)
        for (const part of traced) tracing?.delivered(part.traceparent, Date.now() - ageMs(part.sentAt))
      },
      onGap: (epoch) => hub.gap(epoch),
      onDoubt: (users) => void hub.recheck(users),
      onCall: () => presence.called(),
      onQueued: () => queue.called(),
    },
  })
  undo.push('bus', () => bus.close())
  await unlessAborted(signal, bus.start())
  presence.start()
  queue.start()
  const sweeper = setInterval(() => void hub.sweep(), SWEEP_INTERVAL_MS).unref()
  undo.push('sweep', () => clearInterval(sweeper))

  const cleaner = new Cleaner({
    sql: pool('clean'),
    retentionHours: config.eventRetentionHours,
    log,
    metrics,
  })
  cleaner.start()
  undo.push('cleaner', () => cleaner.stop())

  const [signingSecret] = secrets
  const pressure = new Pressure({
    maxDelayMs: config.maxEventLoopDelayMs,
    maxHeapShare: config.maxHeapPercent / 100,
    log,
    onRefused: (limit) => metrics.limited.inc({ limit }),
  })
  metrics.eventLoop.start((lateMs) => pressure.tick(lateMs))
  undo.push('event loop', () => metrics.eventLoop.stop())
  const app: App = {
    config,
    log,
    metrics,
    tracing,
    limits: new Limits(config, metrics, log),
    waiting: new Gate(config.maxWaitingRequests, () => metrics.limited.inc({ limit: 'waiting_requests' })),
    pressure,
    polls: new Turns(POLLS_AT_ONCE),
    sql: readPool,
    edits: pool('edit'),
    ...createBatchers(
      new WritePools(database),
      metrics,
      config.maxWaitingWrites,
      tracing,
      new StoryScout(readPool),
    ),
    eventLog,
    hub,
    presence,
    websockets: new WebSocketTransport({
      messageMaxBytes: config.messageMaxBytes,
      messagesPerMinute: config.messagesPerMinute,
      onLimited: () => metrics.limited.inc({ limit: 'messages' }),
      verify: (token) => verifier.verify(token).catch(() => undefined),
    }),
    verifier,
    tickets: new Tickets({
      sql: readPool,
      maxPerUser: config.maxTicketsPerUser,
      onLimited: () => metrics.limited.inc({ limit: 'user_tickets' }),
    }),
    issueToken:
      config.production || signingSecret === undefined
        ? undefined
        : (user, expiresInSeconds) => issueToken(signingSecret, user, expiresInSeconds, config.auth),
    unready: () => [
      ...(hub.draining ? ['draining'] : []),
      ...(canary.commitsHang
        ? ['Postgres does not finish commits; a synchronous standby may be gone']
        : bus.alive
          ? []
          : ['notifications of the database do not arrive here']),
      ...database.problems,
    ],
  }
  registerGauges(metrics, { ...app, bus, database, version: INFO.version })
  let adminUrl: string | undefined
  if (config.adminPort !== undefined) {
    // First to open and last to close, so that probes get answers while the instance drains.
    const admin = createHttpServer(app, ADMIN_ROUTES)
    adminUrl = await listen(admin.server, 'ADMIN_PORT', config.host, config.adminPort)
    undo.push('ADMIN_PORT', () => closeServer(admin))
  }
  const http = createHttpServer(app)
  const { server } = http
  const url = await listen(server, 'PORT', config.host, config.port)
  undo.push('PORT', () => {
    // The server waits for upgraded sockets but cannot end them; the hub ends them, once their stream has begun.
    hub.close()
    return closeServer(http)
  })
  log.info({ url, adminUrl }, 'listening')

  return {
    url,
    adminUrl,
    close: () => undo.undo(CLOSE_MS),
    async drain() {
      log.info({ connections: hub.connections }, 'draining')
      const deadline = performance.now() + config.drainTimeoutMs
      const answered = new Promise<void>((resolve) => server.close(() => resolve()))
      await hub.drain(config.drainTimeoutMs * SPREAD, sleep)
      // Pending writes are answered, but a client that never reads its answer must not keep the process alive.
      const closingMs = Math.min(CLOSE_MS, config.drainTimeoutMs * CLOSING)
      await within(Math.max(0, deadline - closingMs - performance.now()), answered)
      await undo.undo(Math.max(0, deadline - performance.now()))
      log.info('stopped')
    },
  }
}

/** Opens the configured database, or an embedded Postgres, and migrates it if configured. */
async function openDatabase(
  config: Config,
  log: Logger,
  undo: UndoStack,
  signal: AbortSignal | undefined,
): Promise<{ connection: ConnectionOptions; listen: ConnectionOptions }> {
  let { database } = config
  const embeds = database === undefined
  if (database === undefined) {
    // Not aborted half-way: the server would go on without an owner.
    const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, log, signal })
    undo.push('embedded Postgres', () => embedded.release())
    database = parseConnectionUrl(embedded.url)
  }
  const listen = config.listenDatabase ?? database
  if (!embeds)
    await checkPoolers({ database, listen, declared: config.databasePooler === 'transaction' }, signal)
  // A transaction pooler would lose the advisory lock of the migrating session, so it connects directly.
  if (config.migrate) await migrate(listen, log, { signal })
  signal?.throwIfAborted()
  return { connection: database, listen }
}

/** Settles as a step of the start does, or rejects with the signal's reason if that comes first. */
function unlessAborted<Result>(signal: AbortSignal | undefined, step: Promise<Result>): Promise<Result> {
  if (signal === undefined) return step
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    step.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    if (signal.aborted) onAbort()
  })
}

function closeServer({ server, conversations }: HttpServer): Promise<unknown> {
  conversations.destroy()
  return stopListening(server)
}
