import { runConformanceTests } from '@durable-streams/server-conformance-tests'
import { afterAll, beforeAll, beforeEach, expect } from 'vitest'
import { getCurrentSuite } from 'vitest/suite'
import { DurableFront } from '../support/durable-front.ts'
import { type Instance, startInstance } from '../support/instance.ts'

/**
 * The protocol's own conformance tests, as far as they concern reading in JSON mode. The service is not written to by this
 * protocol, so streams are created and appended to by a front of the tests; reads are the service's own.
 */

/** Groups in which something is read. The others (producers, expiry, closing, forks, subscriptions) only concern writing. */
const GROUPS = [
  'Read Operations',
  'Long-Poll Operations',
  'HTTP Protocol',
  'Browser Security Headers',
  'Content-Type Validation',
  'HEAD Metadata',
  'Offset Validation and Resumability',
  'Protocol Edge Cases',
  'Long-Poll Edge Cases',
  'Caching and ETag',
  'Chunking and Large Payloads',
  'Read-Your-Writes Consistency',
  'SSE Mode',
  'JSON Mode',
  'Property-Based Tests (fast-check)',
]

/** In those groups, what checks how a server takes what is written: here the front of the tests would be the one tested. */
const WRITING = [
  /\bPUT\b|\bDELETE\b|\bPOST\b/,
  /seq ordering|sequence ordering|seq values|incrementing seq/,
  /content-type mismatch|content-type match|empty JSON arrays|invalid JSON/,
]
/** SSE of content that is not JSON: the streams of the service have none. */
const NOT_JSON = [/base64|binary streams|Stream-SSE-Data-Encoding/, /text\/plain payloads|CRLF injection/]

/** Fewer than these ran: the selection above has lost its meaning with a newer version of the tests. */
const LEAST_TESTS = 90
let ran = 0

const LONG_POLL_MS = 1000
const options = { baseUrl: '', longPollTimeoutMs: LONG_POLL_MS }
let instance: Instance
let front: DurableFront
beforeAll(async () => {
  instance = await startInstance({
    HEARTBEAT_INTERVAL_MS: String(LONG_POLL_MS),
    CORS_ORIGINS: 'https://example.com',
  })
  front = await DurableFront.before(instance)
  options.baseUrl = front.url
})
afterAll(async () => {
  await front.close()
  await instance.close()
})

beforeEach(({ task, skip }) => {
  skip(
    WRITING.some((name) => name.test(task.name)),
    'concerns writing',
  )
  skip(
    NOT_JSON.some((name) => name.test(task.name)),
    'concerns content that is not JSON',
  )
  ran++
})

afterAll(() => {
  expect(ran).toBeGreaterThanOrEqual(LEAST_TESTS)
})

runConformanceTests(options)
// The groups that only concern writing are not skipped tests: they are none of the service's.
const { tasks } = getCurrentSuite()
tasks.splice(0, tasks.length, ...tasks.filter(({ name }) => GROUPS.includes(name)))
