import type { Scenario } from '../prover/scenario.ts'
import { scenario as baseline } from './baseline.ts'
import { scenario as churn } from './churn.ts'
import { scenario as clocks } from './clocks.ts'
import { scenario as descriptors } from './descriptors.ts'
import { scenario as diskFull } from './disk-full.ts'
import { scenario as endListen } from './end-listen.ts'
import { scenario as failover } from './failover.ts'
import { scenario as fullHeap } from './full-heap.ts'
import { scenario as fullNotifyQueue } from './full-notify-queue.ts'
import { scenario as holes } from './holes.ts'
import { scenario as killInstance } from './kill-instance.ts'
import { scenario as killPostgres } from './kill-postgres.ts'
import { scenario as lateLoop } from './late-loop.ts'
import { scenario as lockedAuthor } from './locked-author.ts'
import { scenario as logDiskFull } from './log-disk-full.ts'
import { scenario as logReaderStops } from './log-reader-stops.ts'
import { natsMessageScenarios } from './nats-messages.ts'
import { natsRelayScenarios } from './nats-relay.ts'
import { natsServerScenarios } from './nats-server.ts'
import { scenario as pooler } from './pooler.ts'
import { scenario as randomCuts } from './random-cuts.ts'
import { scenario as replacedDatabase } from './replaced-database.ts'
import { scenario as restartPostgres } from './restart-postgres.ts'
import { scenario as rollingRestart } from './rolling-restart.ts'
import { scenario as setBack } from './set-back.ts'
import { scenario as silentListen } from './silent-listen.ts'
import { scenario as slowReaders } from './slow-readers.ts'
import { scenario as startTogether } from './start-together.ts'
import { scenario as steppedClock } from './stepped-clock.ts'
import { scenario as stopInstance } from './stop-instance.ts'
import { scenario as stoppedListen } from './stopped-listen.ts'
import { scenario as trimmed } from './trimmed.ts'
import { scenario as unfencedPrimary } from './unfenced-primary.ts'
import { scenario as viralAuthor } from './viral-author.ts'

/** In the order of the report. */
export const SCENARIOS: readonly Scenario[] = [
  baseline,
  killInstance,
  stopInstance,
  rollingRestart,
  endListen,
  stoppedListen,
  silentListen,
  killPostgres,
  restartPostgres,
  fullNotifyQueue,
  pooler,
  randomCuts,
  startTogether,
  failover,
  unfencedPrimary,
  replacedDatabase,
  setBack,
  holes,
  steppedClock,
  diskFull,
  logDiskFull,
  logReaderStops,
  descriptors,
  fullHeap,
  lateLoop,
  clocks,
  lockedAuthor,
  slowReaders,
  viralAuthor,
  trimmed,
  churn,
  ...natsServerScenarios,
  ...natsRelayScenarios,
  ...natsMessageScenarios,
]
