import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ResetReason } from '../event.ts'
import { BatchedHistogram } from './batched-histogram.ts'

export type Metrics = ReturnType<typeof createMetrics>

/** Every metric of one instance, in a registry of its own, so that several instances can live in one process. */
export function createMetrics() {
  const metrics = declareMetrics()
  // Starts at 0: a series that begins with its first reset shows no increase, so its alert would not fire.
  for (const reason of Object.keys(RESET_REASONS)) metrics.resets.inc({ reason }, 0)
  for (const kind of ['row', 'vanished', 'contention', 'unavailable', 'fault'])
    metrics.databaseFailures.inc({ kind }, 0)
  return metrics
}

/** As an object, so that the compiler misses a reason that is left out. */
const RESET_REASONS: Record<ResetReason, true> = {
  trimmed: true,
  ahead: true,
  epoch: true,
  invalid: true,
  gap: true,
}

function declareMetrics() {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  return {
    registry,
    connections: new Gauge({
      name: 'glimpse_connections',
      help: 'Open streams.',
      labelNames: ['transport'] as const,
      registers,
    }),
    connectionsOpened: new Counter({
      name: 'glimpse_connections_opened_total',
      help: 'Streams that were opened.',
      labelNames: ['transport'] as const,
      registers,
    }),
    connectionsClosed: new Counter({
      name: 'glimpse_connections_closed_total',
      help: 'Streams that ended; reason is that of stream.close, or gone where the client left.',
      labelNames: ['transport', 'reason'] as const,
      registers,
    }),
    limited: new Counter({
      name: 'glimpse_limited_total',
      help: 'Requests and connections that a limit refused or ended, by limit.',
      labelNames: ['limit'] as const,
      registers,
    }),
    resets: new Counter({
      name: 'glimpse_stream_resets_total',
      help: 'Streams that could not be continued without a possible loss, by reason.',
      labelNames: ['reason'] as const,
      registers,
    }),
    batchRows: new Histogram({
      name: 'glimpse_write_batch_rows',
      help: 'Rows written by one statement.',
      labelNames: ['kind'] as const,
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    batchSeconds: new Histogram({
      name: 'glimpse_write_batch_seconds',
      help: 'From sending a writing statement to its commit or failure.',
      labelNames: ['kind'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers,
    }),
    delivery: new BatchedHistogram({
      name: 'glimpse_delivery_seconds',
      help: 'From just before the commit, by the clock of Postgres, until an event was written to its sockets; the oldest event of each bus message, without those read from the log.',
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    eventsTrimmed: new Counter({
      name: 'glimpse_events_trimmed_total',
      help: 'Events removed from the log because they were older than EVENT_RETENTION_HOURS.',
      registers,
    }),
    queueMoved: new Counter({
      name: 'glimpse_queue_moved_total',
      help: 'Events moved into the log from the queue of glimpse.enqueue.',
      registers,
    }),
    rowsRemoved: new Counter({
      name: 'glimpse_expired_rows_removed_total',
      help: 'Expired stories removed, with their views and reactions.',
      registers,
    }),
    databaseFailures: new Counter({
      name: 'glimpse_database_failures_total',
      help: 'Statements that failed: row, vanished and contention concern their caller, unavailable passes by itself, a fault of schema, rights or code stays.',
      labelNames: ['kind'] as const,
      registers,
    }),
    requestFailures: new Counter({
      name: 'glimpse_request_failures_total',
      help: 'Requests that failed unexpectedly and were answered 500; the log has the cause of each.',
      registers,
    }),
    problems: new Counter({
      name: 'glimpse_problems_total',
      help: "Requests that were refused, by the problem's code; streams that were answered 200 and closed at once included.",
      labelNames: ['code'] as const,
      registers,
    }),
    cleaned: new Gauge({
      name: 'glimpse_cleaned_timestamp_seconds',
      help: 'When this instance last finished a round of trimming the log and removing what has expired.',
      registers,
    }),
    cleaningFailures: new Counter({
      name: 'glimpse_cleaning_failures_total',
      help: 'Rounds of cleaning that failed.',
      registers,
    }),
    requests: new Counter({
      name: 'glimpse_http_requests_total',
      help: 'HTTP requests answered, by route and status; a stream counts when it begins.',
      labelNames: ['route', 'status'] as const,
      registers,
    }),
    busAlive: new Gauge({
      name: 'glimpse_bus_alive',
      help: '1 while canaries come back over the bus in time.',
      registers,
    }),
    busRoundTrip: new Histogram({
      name: 'glimpse_bus_round_trip_seconds',
      help: 'From sending a canary through the pool to hearing it over the bus.',
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    busReplaced: new Counter({
      name: 'glimpse_bus_replaced_total',
      help: 'LISTEN sessions that were given up and replaced.',
      registers,
    }),
    busFallback: new Gauge({
      name: 'glimpse_bus_fallback',
      help: '1 while this instance listens to Postgres because NATS brings no messages; always 0 without BUS_URL.',
      registers,
    }),
    busFollow: new BatchedHistogram({
      name: 'glimpse_bus_follow_seconds',
      help: "Until NATS had confirmed that it sends a newcomer's events; nothing without BUS_URL.",
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
      registers,
    }),
    busRelaying: new Gauge({
      name: 'glimpse_bus_relaying',
      help: '1 while this instance is the one that publishes to NATS what Postgres notifies.',
      registers,
    }),
    busPublished: new Counter({
      name: 'glimpse_bus_published_total',
      help: 'Messages that this instance published to NATS as the relay.',
      registers,
    }),
    notifyQueueUsage: new Gauge({
      name: 'glimpse_notify_queue_usage_ratio',
      help: "How full the cluster's NOTIFY queue is; at 0.5 events are no longer announced and the sweep delivers them.",
      registers,
    }),
  }
}
