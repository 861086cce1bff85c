import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import postgres from 'postgres'
import { startEmbeddedPostgres } from '../../src/embedded/index.ts'
import { createLogger } from '../../src/observability/log.ts'
import { stablePort } from '../faults/prover/ports.ts'
import { scrape } from '../support/metrics.ts'
import { ServerProcess } from '../support/server-process.ts'
import { startInstance } from './instance.ts'
import { judge, type Sample, table } from './samples.ts'
import { Traffic } from './traffic.ts'

const USAGE = `npm run test:soak -- [--minutes 15]

Runs an instance under a mixed load and looks whether what it holds stays the same: memory, descriptors, timers and
backends. Exit code 1 where one of them grows.
`

const SAMPLE_MS = 2000

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '15' } } })
  const minutes = Number(values.minutes)
  if (!(minutes > 0)) {
    console.error(USAGE)
    return 2
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'glimpse-soak-'))
  const embedded = await startEmbeddedPostgres({ dataDir, log: createLogger('warn') })
  const sql = postgres(embedded.url, { max: 1, onnotice: () => {}, connection: { application_name: 'soak' } })
  const secret = randomBytes(32).toString('hex')
  const instance = await startInstance({
    PORT: String(await stablePort()),
    DATABASE_URL: embedded.url,
    JWT_SECRET: secret,
    RATE_LIMIT: 'off',
    // Long enough that a late timer of the client's does not meet it: a request on a socket that is just closing fails.
    KEEP_ALIVE_TIMEOUT_MS: '20000',
    // A machine with others to run is late; what grows is looked for here, not what is refused.
    MAX_EVENT_LOOP_DELAY_MS: '10000',
    HEADERS_TIMEOUT_MS: '2000',
  })
  const traffic = new Traffic(instance.url, secret)
  const samples: Sample[] = []
  try {
    traffic.start()
    const until = Date.now() + minutes * 60_000
    while (Date.now() < until) {
      await sleep(SAMPLE_MS)
      samples.push(await sample(instance.url, instance.pid, sql))
    }
  } finally {
    await traffic.stop()
    await instance.stop()
    await sql.end()
    await embedded.release()
    await rm(dataDir, { recursive: true, force: true })
  }
  const verdicts = judge(samples)
  console.log(`${traffic.summary}\n\n${table(verdicts)}`)
  return verdicts.every(({ flat }) => flat) && traffic.failures === 0 ? 0 : 1
}

async function sample(url: string, pid: number, sql: postgres.Sql): Promise<Sample> {
  const metrics = await scrape(url)
  const [row] = await sql<{ backends: number; statements: number }[]>`
    select count(*)::int as backends from pg_stat_activity where application_name like 'glimpse%'`
  return {
    memoryMiB: new ServerProcess(pid).residentMiB,
    heapMiB: (metrics.get('nodejs_heap_size_used_bytes') ?? 0) / 1_048_576,
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
    timers: metrics.get('nodejs_active_resources{type="Timeout"}') ?? 0,
    backends: row?.backends ?? 0,
  }
}

process.exitCode = await main()
