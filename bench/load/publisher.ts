import { Pool } from 'undici'
import { eventText } from '../peers/feed.ts'
import { nowMs } from './clock.ts'
import { answerJobs, coresSince, cpuMark, sleep } from './jobs.ts'
import { openPipelined } from './pipelined.ts'
import type { Fed } from './sql-writer.ts'
import { stampedViewer } from './stamp.ts'

/** Publishes by HTTP to a broker that is fed that way. */
export interface PublishJob {
  /** nchan: one event a POST, to the user's channel. pushpin: several items a POST, to its control port. */
  readonly broker: 'nchan' | 'pushpin'
  readonly url: string
  readonly ms: number
  /** Events go to `user_0` … at random. */
  readonly users: number
  /** Events a second; absent: as fast as the broker answers. */
  readonly rate?: number
}

interface Publishing extends PublishJob {
  readonly startedAt: number
  /** How many events may be out by now. */
  due(): number
}

const CONNECTIONS = 4
/** Requests to Nchan that are not answered yet, over all connections. */
const WINDOW = 256
/** Items in one POST to Pushpin. */
const ITEMS = 25
const TICK_MS = 5

const heads = new Map<string, number>()

async function run(job: PublishJob): Promise<Fed> {
  const mark = cpuMark()
  const startedAt = nowMs()
  const due = () =>
    job.rate === undefined ? Number.POSITIVE_INFINITY : ((nowMs() - startedAt) * job.rate) / 1000
  const publish = job.broker === 'nchan' ? publishToNchan : publishToPushpin
  const events = await publish({ ...job, startedAt, due })
  return { startedAt, events, cores: coresSince(mark) }
}

/** A user's events keep to one connection: between two of them nothing would hold the order. */
function nextEvent(users: number, connection: number): { user: string; seq: number; json: string } {
  const nth = Math.floor((Math.random() * (users - connection)) / CONNECTIONS)
  const user = `user_${connection + CONNECTIONS * nth}`
  const seq = (heads.get(user) ?? 0) + 1
  heads.set(user, seq)
  return { user, seq, json: eventText(seq, stampedViewer(seq)) }
}

async function publishToNchan(job: Publishing): Promise<number> {
  let answered = 0
  let fault: string | undefined
  let wake = () => {}
  const onAnswers = (count: number) => {
    answered += count
    wake()
  }
  const onFault = (why: string) => {
    fault ??= why
    wake()
  }
  const connections = await Promise.all(
    Array.from({ length: CONNECTIONS }, () => openPipelined(job.url, onAnswers, onFault)),
  )
  const { host } = new URL(job.url)
  let events = 0
  while (nowMs() - job.startedAt < job.ms && fault === undefined) {
    const bursts = connections.map(() => [] as string[])
    for (const limit = Math.min(job.due(), answered + WINDOW); events < limit; events += 1) {
      const connection = events % CONNECTIONS
      const { user, json } = nextEvent(job.users, connection)
      bursts[connection]?.push(
        `POST /publish?user=${user} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${json.length}\r\n\r\n${json}`,
      )
    }
    bursts.forEach((burst, i) => {
      if (burst.length > 0) connections[i]?.write(Buffer.from(burst.join('')))
    })
    const answer = new Promise<void>((resolve) => {
      wake = resolve
    })
    await (job.rate === undefined ? Promise.race([answer, sleep(1000)]) : sleep(TICK_MS))
  }
  for (let waited = 0; answered < events && fault === undefined && waited < 5000; waited += TICK_MS)
    await sleep(TICK_MS)
  for (const connection of connections) connection.close()
  if (fault !== undefined) throw new Error(fault)
  return events
}

async function publishToPushpin(job: Publishing): Promise<number> {
  const pool = new Pool(job.url, { connections: CONNECTIONS })
  let events = 0
  const lane = async (connection: number) => {
    while (nowMs() - job.startedAt < job.ms) {
      if (events + ITEMS > job.due()) {
        await sleep(TICK_MS)
        continue
      }
      events += ITEMS
      const items = Array.from({ length: ITEMS }, () => nextEvent(job.users, connection)).map(
        ({ user, seq, json }) => ({
          channel: user,
          formats: {
            'http-stream': { content: `id: 7f3a9c2b11de.${seq}\nevent: story.viewed\ndata: ${json}\n\n` },
          },
        }),
      )
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: '/publish/',
        body: JSON.stringify({ items }),
      })
      const text = await body.text()
      if (statusCode !== 200) throw new Error(`Pushpin answered ${statusCode}: ${text.slice(0, 200)}`)
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => lane(i)))
  await pool.close()
  return events
}

answerJobs(run)
