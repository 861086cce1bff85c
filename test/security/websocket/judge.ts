import { setTimeout as sleep } from 'node:timers/promises'
import type { Caller } from '../../support/api.ts'
import type { Case, Expectation, Step } from './case.ts'
import { closePayload, frame, OPCODE, type ServerFrame } from './frame.ts'
import { Peer } from './peer.ts'

/** The verdicts of the Autobahn suite. */
export interface Verdict {
  readonly behaviour: 'OK' | 'NON-STRICT' | 'INFORMATIONAL' | 'FAILED'
  /** Why, where it is FAILED. */
  readonly why: string
}

const failed = (why: string): Verdict => ({ behaviour: 'FAILED', why })
const OK: Verdict = { behaviour: 'OK', why: '' }

/** Plays one case on a connection of `author`, whose story `viewer` views to see whether it lives. */
export async function judge(play: Case, author: Caller, viewer: Caller): Promise<Verdict> {
  const story = await author.post()
  const peer = await Peer.open(author.url, author.token)
  try {
    await peer.find(isMessage('stream.open'))
    const early = await send(peer, play.steps)
    const unsound = peer.frames.find(({ fin, rsv, opcode }) => !fin || rsv !== 0 || !KNOWN.has(opcode))
    if (unsound !== undefined) return failed(`sent ${JSON.stringify(unsound)}`)
    return await settle(peer, play.expected, early, () => viewer.view(story))
  } catch (error) {
    return failed((error as Error).message)
  } finally {
    peer.destroy()
  }
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(OPCODE))

/** Sends the steps; says whether the server was done before the last of them. */
async function send(peer: Peer, steps: readonly Step[]): Promise<boolean> {
  let early = false
  for (const [i, step] of steps.entries()) {
    if (i === steps.length - 1) early = peer.frames.some(({ opcode }) => opcode === OPCODE.close)
    if (Buffer.isBuffer(step)) await peer.send(step)
    else if ('pause' in step) await sleep(step.pause)
    else await peer.send(step.bytes, step.chop)
  }
  return early
}

async function settle(
  peer: Peer,
  expected: Expectation,
  early: boolean,
  makeEvent: () => Promise<unknown>,
): Promise<Verdict> {
  if ('informational' in expected) {
    const last = await endOf(peer)
    return last === 'silent'
      ? failed('neither lived on nor closed')
      : { behaviour: 'INFORMATIONAL', why: last }
  }
  if ('closes' in expected) {
    const { code, reason } = await peer.closed()
    if (!expected.closes.includes(code ?? 0)) return failed(`closed with ${code} (${reason})`)
    const wrong = wrongPongs(peer, expected.pongs)
    if (wrong !== undefined) return failed(wrong)
    return expected.failFast && !early ? { behaviour: 'NON-STRICT', why: 'failed late' } : OK
  }
  // A last ping: once its answer is here, everything before it was read.
  await peer.send(frame(OPCODE.ping, LAST))
  if ((await peer.find(isLastPong)) === undefined) return failed(`closed with ${(await peer.closed()).code}`)
  const wrong = wrongPongs(peer, [...(expected.pongs ?? []), LAST])
  if (wrong !== undefined) return failed(wrong)
  await makeEvent()
  if ((await peer.find(isMessage('story.viewed'))) === undefined) return failed('the event did not come')
  await peer.send(frame(OPCODE.close, closePayload(1000)))
  const { code } = await peer.closed()
  return code === 1000 ? OK : failed(`answered close 1000 with ${code}`)
}

const LAST = 'the last ping'
const isLastPong = ({ opcode, payload }: ServerFrame) => opcode === OPCODE.pong && payload.toString() === LAST

function isMessage(type: string) {
  return ({ opcode, payload }: ServerFrame) =>
    opcode === OPCODE.text && (JSON.parse(payload.toString()) as { type: string }).type === type
}

/** Pongs must be the pings' payloads, each once, in order (RFC 6455 §5.5.3). */
function wrongPongs(peer: Peer, expected: readonly (Buffer | string)[] = []): string | undefined {
  const received = peer.frames.filter(({ opcode }) => opcode === OPCODE.pong).map(({ payload }) => payload)
  const same =
    received.length === expected.length &&
    received.every((payload, i) => payload.equals(Buffer.from(expected[i] ?? '')))
  return same ? undefined : `pongs: ${received.map((payload) => payload.toString('hex')).join(' ')}`
}

async function endOf(peer: Peer): Promise<'lived on' | 'closed' | 'silent'> {
  await peer.send(frame(OPCODE.ping, LAST))
  try {
    return (await peer.find(isLastPong)) === undefined ? 'closed' : 'lived on'
  } catch {
    return 'silent'
  }
}
