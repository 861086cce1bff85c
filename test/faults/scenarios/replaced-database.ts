import { rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { ensureCluster } from '../../../src/embedded/cluster.ts'
import { openLayout } from '../../../src/embedded/layout.ts'
import { chooseRunAs } from '../../../src/embedded/run-as.ts'
import { poll } from '../../support/clients/poll.ts'
import { signToken } from '../../support/token.ts'
import type { Bench } from '../prover/bench.ts'
import { until } from '../prover/crowd.ts'
import { comeBackLate, needlessResets, untilToldOfHistory } from '../prover/histories.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const forgetsDatabase: Plant = {
  name: 'the epoch leaves out the database',
  edits: [
    {
      file: 'migrations/0008_history.sql',
      find: `    (select oid from pg_database where datname = current_database()),
    'glimpse.events'::regclass::oid,
`,
      put: '    0,\n',
    },
  ],
}

/** What was acknowledged before is gone with its database. */
const replaced = { at: 0 }

export const scenario: Scenario = {
  name: 'replaced-database',
  promise:
    'the database is replaced by an empty one, on the same server, by another server, or only its schema: refused until it is migrated, and no instance calls itself ready, then everybody is told (reset epoch)',
  quick: false,
  // A server of its own, because it is replaced.
  setup: { postgres: { max_wal_size: '256MB' } },
  allowed: { resets: true, forgotten: ({ ackedAt = 0 }) => ackedAt <= replaced.at },
  planted: { bug: forgetsDatabase, foundIn: 'unkept' },
  async run(bench) {
    await replace(bench, 'dropped', async () => {
      await bench.postgres.dropDatabase(bench.database)
      await bench.postgres.createDatabase(bench.database.name)
    })
    await replace(bench, 'another cluster', () => replaceCluster(bench))
    // The sessions live on, LISTEN among them.
    await replace(bench, 'another schema', async () => {
      await bench.sql`drop schema glimpse cascade`
    })
  },
}

async function replace(bench: Bench, how: string, act: () => Promise<void>): Promise<void> {
  bench.progress(how)
  await bench.stopWriting()
  bench.must(await bench.untilCaughtUp(5000), `${how}: before, everybody has everything`)
  const { epoch, heads } = await bench.readHeads()
  const [author = ''] = bench.authors
  // What a session has prepared by then must not stand in its way afterwards.
  for (const wrong of await postStories(bench, author)) bench.must(false, `${how}, before: ${wrong}`)
  replaced.at = performance.now()
  await act()

  const pids = bench.instances.map(({ pid }) => pid)
  bench.must(await until(5000, () => noneReady(bench)), `${how}: within 5 s no instance calls itself ready`)
  for (const wrong of await refusals(bench, author)) bench.must(false, `${how}, without a schema: ${wrong}`)
  await sleep(1000)
  bench.must(
    bench.instances.every(({ pid }, nth) => pid === pids[nth]),
    `${how}: no instance ends for it`,
  )

  const first = bench.instance(0)
  await first.end('SIGTERM')
  await first.start()
  await bench.sql`
    insert into glimpse.stories (author_id, id)
    select * from unnest(${[...bench.stories.keys()]}::text[], ${[...bench.stories.values()]}::uuid[])`
  // Writes go on before anybody is told: a stream that is a few events long has numbers that clients have seen.
  bench.startWriting()
  bench.must(await bench.untilReady(5000), `${how}: within 5 s of the schema every instance is ready`)
  bench.must(await bench.crowd.untilLive(5000), `${how}: within 5 s of the schema everybody is live`)
  bench.must(await untilToldOfHistory(bench, replaced.at, 5000), `${how}: everybody is told within 5 s`)
  for (const wrong of await postStories(bench, author)) bench.must(false, `${how}, afterwards: ${wrong}`)
  const needless = needlessResets(bench, replaced.at)
  bench.must(
    needless === 0,
    `${how}: everybody is told once, and of nothing else, not ${needless} times more`,
  )
  for (const cursor of [`${epoch}.1`, `${epoch}.${heads.get(author)}`])
    for (const wrong of await comeBackLate(bench, author, cursor)) bench.must(false, `${how}: ${wrong}`)
  await sleep(1000)
}

async function noneReady(bench: Bench): Promise<boolean> {
  return !(await Promise.all(bench.instances.map((instance) => instance.ready()))).includes(true)
}

/** Posts a story to each instance. What was not answered 201. */
async function postStories({ instances }: Bench, author: string): Promise<string[]> {
  const headers = { authorization: `Bearer ${await signToken(author)}`, 'content-type': 'application/json' }
  const answers = await Promise.all(
    instances.map(({ url }) => fetch(`${url}/stories`, { method: 'POST', headers, body: '{}' })),
  )
  await Promise.all(answers.map((answer) => answer.body?.cancel()))
  return answers.filter(({ status }) => status !== 201).map(({ url, status }) => `POST ${url}: ${status}`)
}

/** What an instance answers that is no refusal: 500 where tables are missing (nobody need try again), 503 with Retry-After where the database is. */
async function refusals(bench: Bench, author: string): Promise<string[]> {
  const wrong: string[] = []
  const token = await signToken(author)
  const visitor = await signToken('somebody')
  for (const { url } of bench.instances) {
    const story = `${url}/stories/${bench.stories.get(author)}`
    const answers = [
      await fetch(`${story}/view`, { method: 'POST', headers: { authorization: `Bearer ${visitor}` } }),
      await fetch(story, { headers: { authorization: `Bearer ${visitor}` } }),
      await fetch(`${url}/events`, { headers: { authorization: `Bearer ${token}` } }),
    ]
    for (const answer of answers) {
      await answer.body?.cancel()
      if (answer.status !== 500 && (answer.status !== 503 || !answer.headers.has('retry-after')))
        wrong.push(`${answer.url} answered ${answer.status}`)
    }
    const page = await poll({ url, token })
    if (page.status !== 500 && page.status !== 503)
      wrong.push(`a poll was answered ${page.status} ${page.text}`)
  }
  return wrong
}

/** A new cluster on the same port, with the same names and passwords, as an operator sets up who lost the old one. */
async function replaceCluster({ postgres: server, database }: Bench): Promise<void> {
  await server.stop()
  await rename(server.dataFolder, `${server.dataFolder}-before`)
  const layout = await openLayout(dirname(dirname(server.dataFolder)))
  await ensureCluster(layout, server.binaries, chooseRunAs(server.binaries.postgres, layout), false)
  await server.start()
  const { username, password } = new URL(database.url)
  const sql = postgres(server.adminUrl('postgres'), { max: 1 })
  await sql.unsafe(`create role ${username} login password '${password}'`)
  await sql.end()
  await server.createDatabase(database.name)
}
