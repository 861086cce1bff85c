import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SignJWT } from 'jose'
import { openSse } from '../../support/clients/sse.ts'
import { openWebSocket } from '../../support/clients/websocket.ts'
import { signToken, TEST_SECRET } from '../../support/token.ts'
import type { Bench } from '../prover/bench.ts'
import type { Instance } from '../prover/instance.ts'
import type { Plant } from '../prover/plants.ts'
import type { Scenario } from '../prover/scenario.ts'

const HEARTBEAT_MS = 500
const OFF_S = 90
/** The preload looks at its file 50 times a second. */
const NOTICED_MS = 100

const measuresByTheWall: Plant = {
  name: 'waits are measured by the wall clock',
  edits: [
    {
      file: 'src/service.ts',
      find: 'monotonic: () => performance.now()',
      put: 'monotonic: () => Date.now()',
    },
  ],
}

/** Where the instances read how far their clocks are off. */
let clockFolder = ''

export const scenario: Scenario = {
  name: 'clocks',
  promise:
    "instances' clocks are 90 s off, and jump: numbers, order, delivery and heartbeats don't mind; a token ends by its instance's clock, to the second",
  quick: false,
  setup: { environment: { HEARTBEAT_INTERVAL_MS: String(HEARTBEAT_MS), JWT_CLOCK_TOLERANCE_S: '0' } },
  async prepare() {
    clockFolder = await mkdtemp(join(tmpdir(), 'glimpse-clocks-'))
    const preload = new URL('../prover/shifted-clock.mjs', import.meta.url)
    return {
      environment: { NODE_OPTIONS: `--import=${preload.href}`, CLOCK_FOLDER: clockFolder },
      close: () => rm(clockFolder, { recursive: true, force: true }),
    }
  },
  planted: { bug: measuresByTheWall, foundIn: 'unkept' },
  async run(bench) {
    const [fast, slow] = [bench.instance(0), bench.instance(1)]
    await bench.repeat(4, 1, async () => {
      const brief = await openBriefStreams(fast)
      await withHeartbeats(bench, async () => {
        await setClock(fast, OFF_S)
        await setClock(slow, -OFF_S)
      })
      bench.must(
        (await endingOf(brief)).every(isExpired),
        'a jump beyond its exp ends a stream: token_expired',
      )
      await judgeTokens(bench, fast, OFF_S)
      await judgeTokens(bench, slow, -OFF_S)
      await withHeartbeats(bench, async () => {
        await setClock(fast, -OFF_S)
        await setClock(slow, OFF_S)
      })
      await withHeartbeats(bench, () => Promise.all([setClock(fast, 0), setClock(slow, 0)]))
    })
    bench.must(bench.crowd.ends === 0, 'nobody loses a connection')
  },
}

async function setClock({ url }: Instance, seconds: number): Promise<void> {
  const file = join(clockFolder, new URL(url).port)
  // Renamed into place: a half-written number would be another jump.
  await writeFile(`${file}.next`, String(seconds * 1000))
  await rename(`${file}.next`, file)
  await sleep(NOTICED_MS)
}

/** Every instance goes on with its heartbeats, on both transports, while and after something is done to its clock. */
async function withHeartbeats(bench: Bench, act: () => Promise<unknown>): Promise<void> {
  const token = await signToken('nobody')
  const streams = await Promise.all(
    bench.instances.map(async ({ url }) => ({
      sse: await openSse({ url, token }),
      ws: await openWebSocket({ url, token }),
    })),
  )
  try {
    await act()
    const count = () => streams.flatMap(({ sse, ws }) => [sse.comments.length, ws.pings])
    const before = count()
    await sleep(6 * HEARTBEAT_MS)
    const beats = count().map((after, nth) => after - (before[nth] ?? 0))
    bench.must(
      beats.every((n) => n >= 4 && n <= 8),
      `6 heartbeats in ${6 * HEARTBEAT_MS} ms, not ${beats}`,
    )
  } finally {
    for (const { sse, ws } of streams) for (const stream of [sse, ws]) stream.cut()
  }
}

/** Streams whose tokens are good for a minute more. */
function openBriefStreams({ url }: Instance) {
  return Promise.all(
    [openSse, openWebSocket].map(async (open) =>
      open({ url, token: await signToken('brief', { expiresIn: 60 }) }),
    ),
  )
}

type Brief = Awaited<ReturnType<typeof openBriefStreams>>

async function endingOf(streams: Brief): Promise<(string | undefined)[]> {
  await Promise.race([Promise.all(streams.map(({ closed }) => closed)), sleep(2000)])
  for (const stream of streams) stream.cut()
  return streams.map(({ messages }) => messages.at(-1)?.raw)
}

function isExpired(message: string | undefined): boolean {
  return message?.includes('"token_expired"') === true
}

/** The instance's own clock decides, with no tolerance; when a token was issued is not looked at. */
async function judgeTokens(bench: Bench, { url }: Instance, off: number): Promise<void> {
  const now = Math.floor(Date.now() / 1000)
  for (const [claims, status] of [
    [{ exp: now + off + 5, iat: now }, 200],
    [{ exp: now + off - 1, iat: now - 100 }, 401],
    [{ exp: now + 3600, nbf: now + off - 1 }, 200],
    [{ exp: now + 3600, nbf: now + off + 5 }, 401],
  ] as const) {
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('judged')
      .sign(new TextEncoder().encode(TEST_SECRET))
    const answer = await fetch(`${url}/events?limit=1`, {
      headers: { accept: 'application/json', authorization: `Bearer ${token}` },
    })
    await answer.body?.cancel()
    bench.must(
      answer.status === status,
      `a clock ${off} s off answers ${JSON.stringify(claims)} at ${now} with ${status}, not ${answer.status}`,
    )
  }
}
