import { context, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createTracing } from '../../src/observability/tracing.ts'
import { type Caller, call, newCallers } from '../support/api.ts'
import { channelOf } from '../support/channel.ts'
import { open } from '../support/clients/index.ts'
import { createDatabase, type TestDatabase } from '../support/database.ts'
import { startInstance } from '../support/instance.ts'
import { insertStory, upTo } from '../support/sql-writer.ts'

const exporter = new InMemorySpanExporter()

/** What `node --import ./otel.js` does before the service starts. */
function register(): void {
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  )
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
}

let database: TestDatabase
let sql: postgres.Sql
beforeAll(async () => {
  database = await createDatabase()
  sql = postgres(database.url, { max: 2 })
})
afterAll(async () => {
  await sql.end()
  await database.drop()
})
afterEach(() => {
  trace.disable()
  context.disable()
  exporter.reset()
})

async function world() {
  const instance = await startInstance({}, { database })
  onTestFinished(() => instance.close())
  const [author, ...viewers] = (await newCallers(
    instance.url,
    'author',
    ...upTo(20).map(() => 'viewer'),
  )) as [Caller, ...Caller[]]
  const story = await insertStory(sql, author.user)
  return { instance, author, viewers, story }
}

/** Every payload on the channel of the events while the test runs. */
async function overheard(): Promise<string[]> {
  const payloads: string[] = []
  const { unlisten } = await sql.listen(await channelOf(sql), (payload) => payloads.push(payload))
  onTestFinished(unlisten)
  return payloads
}

const spans = (name: string) => exporter.getFinishedSpans().filter((span) => span.name.startsWith(name))
const traceIdOf = (span: ReadableSpan | undefined) => span?.spanContext().traceId

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const CALLER = `00-${TRACE_ID}-b7ad6b7169203331-01`

const viewAs = ({ url, token }: Caller, story: string, traceparent?: string) =>
  call(url, `/stories/${story}/view`, {
    method: 'POST',
    token,
    headers: traceparent === undefined ? {} : { traceparent },
  })

describe('with an SDK registered', () => {
  it('one trace leads from the caller over the request and the commit to the sockets of another instance', async () => {
    register()
    const { author, viewers, story } = await world()
    const other = await startInstance({}, { database })
    onTestFinished(() => other.close())
    const stream = await open('sse', author.at(other.url))
    const began = Date.now()
    await viewAs(viewers[0] as Caller, story, CALLER)
    const [event] = await stream.take(1)
    const [request] = spans('POST /stories/:id/view')
    const [write] = spans('write view')
    const [deliver] = spans('deliver')
    for (const span of [request, write, deliver]) expect(traceIdOf(span)).toBe(TRACE_ID)
    expect(request?.parentSpanContext?.spanId).toBe('b7ad6b7169203331')
    expect(write?.parentSpanContext?.spanId).toBe(request?.spanContext().spanId)
    expect(write?.links.map((link) => link.context.spanId)).toEqual([request?.spanContext().spanId])
    expect(deliver?.parentSpanContext?.spanId).toBe(write?.spanContext().spanId)
    expect(request?.attributes).toMatchObject({
      'http.route': '/stories/:id/view',
      'http.response.status_code': 200,
    })
    const [seconds = 0, nanoseconds = 0] = deliver?.startTime ?? []
    expect(seconds * 1000 + nanoseconds / 1e6).toBeGreaterThan(began - 1000)
    // What clients are sent is the same with tracing and without.
    expect(Object.keys(event?.json ?? {})).toEqual(['id', 'seq', 'type', 'data', 'timestamp'])
  })

  it('a statement that serves many is a child of the first, with links to all of them', async () => {
    register()
    const { viewers, story } = await world()
    await Promise.all(viewers.map((viewer) => viewAs(viewer, story)))
    const writes = spans('write view')
    expect(writes.length).toBeLessThan(viewers.length)
    const linked = writes.flatMap(({ links }) => links.map((link) => link.context.spanId))
    const requests = spans('POST').map((span) => span.spanContext().spanId)
    expect(linked.toSorted()).toEqual(requests.toSorted())
    for (const { links, parentSpanContext } of writes)
      expect(parentSpanContext?.spanId).toBe(links[0]?.context.spanId)
  })

  it('a request that its caller does not sample leaves no span, and no trace in the database', async () => {
    register()
    const { viewers, story } = await world()
    const payloads = await overheard()
    await viewAs(viewers[0] as Caller, story, CALLER.replace(/01$/, '00'))
    await expect.poll(() => payloads.some((payload) => payload.includes('story.viewed'))).toBe(true)
    expect(payloads.join()).not.toContain(TRACE_ID)
    expect(exporter.getFinishedSpans()).toEqual([])
  })

  it.each([
    '',
    'garbage',
    `00-${'0'.repeat(32)}-b7ad6b7169203331-01`,
    CALLER.replace('00-', 'ff-'),
  ])('begins a trace of its own where traceparent is %j', async (traceparent) => {
    register()
    const { viewers, story } = await world()
    await viewAs(viewers[0] as Caller, story, traceparent)
    const [request] = spans('POST')
    expect(request?.parentSpanContext).toBeUndefined()
    expect(traceIdOf(request)).not.toBe(TRACE_ID)
  })

  it('an error of ours is marked as one, a refusal is not; health checks are left out', async () => {
    register()
    const { instance } = await world()
    await sql`alter table glimpse.stories add constraint unforeseen check (text <> 'unforeseen')`
    onTestFinished(async () => void (await sql`alter table glimpse.stories drop constraint unforeseen`))
    const caller = await instance.caller('author')
    await caller.call('POST', '/stories', { text: 'unforeseen' })
    await caller.call('POST', '/stories', { text: 5 })
    await call(instance.url, '/readyz')
    expect(exporter.getFinishedSpans().map(({ name, status }) => [name, status.code])).toEqual([
      ['POST /stories', 2],
      ['POST /stories', 0],
    ])
  })

  it('no span says of whom it is, an error that names somebody included', async () => {
    register()
    const { viewers, story } = await world()
    const [viewer] = viewers as [Caller]
    await sql.unsafe(`
      create function refuse_viewers() returns trigger language plpgsql as $$
        begin raise exception 'no viewer "%"', new.viewer_id; end $$;
      create trigger refuse before insert on glimpse.story_views for each row execute function refuse_viewers()`)
    onTestFinished(async () => void (await sql`drop function refuse_viewers cascade`))
    expect((await viewAs(viewer, story)).status).toBe(500)
    expect(spans('write view')[0]?.status).toEqual({ code: 2, message: 'no viewer …' })
    const told = exporter
      .getFinishedSpans()
      .map(({ name, attributes, status, events }) => ({ name, attributes, status, events }))
    expect(JSON.stringify(told)).not.toContain(viewer.user)
  })

  it('whoever writes with SQL can name a trace, and nothing else', async () => {
    register()
    const { author, story } = await world()
    const stream = await open('ws', author)
    for (const [viewer, traceparent] of [
      ['one', CALLER],
      ['two', `${CALLER}\n${author.user}\t9\t{}`],
    ] as const)
      await sql.begin(async (transaction) => {
        await transaction`select set_config('glimpse.traceparent', ${traceparent}, true)`
        await transaction`insert into glimpse.story_views (story_id, viewer_id) values (${story}, ${viewer})`
      })
    await stream.take(2)
    expect(stream.seqs).toEqual([1, 2])
    expect(spans('deliver').map(traceIdOf)).toEqual([TRACE_ID])
  })
})

describe('without one', () => {
  it('there is no tracing, and an SDK that comes later changes nothing', async () => {
    expect(createTracing()).toBeUndefined()
    const { author, viewers, story } = await world()
    register()
    const payloads = await overheard()
    const stream = await open('sse', author)
    await viewAs(viewers[0] as Caller, story, CALLER)
    await stream.take(1)
    await expect.poll(() => payloads.some((payload) => payload.includes('story.viewed'))).toBe(true)
    expect(payloads.join()).not.toContain(TRACE_ID)
    expect(exporter.getFinishedSpans()).toEqual([])
  })
})
