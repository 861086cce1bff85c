import type { RequestListener } from 'node:http'
import { nowMs } from '../load/clock.ts'
import { stampedViewer } from '../load/stamp.ts'
import { answer } from './http.ts'

/** What a server does with one event for one user: its number in their stream, and its JSON text. */
export type Publish = (user: string, seq: number, json: string) => void

export const OPEN = '{"type":"stream.open","data":{"cursor":"0","oldest":1,"resumed":false}}'

/** Ticks of a paced feed. */
const TICK_MS = 5
/** Events a turn of the event loop, so that reads and writes of the sockets get their turn as well. */
const BURST = 200

/**
 * `POST /feed?ms=…&users=…&rate=…`: events from memory, each to one of the first users at random, for so long; without
 * a rate as fast as it goes. Answers `{startedAt, events}` once all are handed over.
 */
export function feedRoute(publish: Publish): RequestListener {
  const heads = new Map<string, number>()
  return async (request, response) => {
    const query = new URL(request.url ?? '', 'http://localhost').searchParams
    const number = (name: string) => Number(query.get(name) ?? 0)
    const [ms, users, rate] = [number('ms'), number('users'), number('rate')]
    const startedAt = nowMs()
    let events = 0
    for (let elapsed = 0; elapsed < ms; elapsed = nowMs() - startedAt) {
      const due = rate === 0 ? events + BURST : (elapsed * rate) / 1000
      for (; events < due; events += 1) {
        const user = `user_${Math.floor(Math.random() * users)}`
        const seq = (heads.get(user) ?? 0) + 1
        heads.set(user, seq)
        publish(user, seq, eventText(seq, stampedViewer(events)))
      }
      await new Promise((resolve) => (rate === 0 ? setImmediate(resolve) : setTimeout(resolve, TICK_MS)))
    }
    answer(response, 200, { startedAt, events, cores: 0 })
  }
}

/** As long as Glimpse's own event, to the byte or two. */
export function eventText(seq: number, viewer: string): string {
  const at = '2025-10-01T15:13:26.000Z'
  return `{"id":"7f3a9c2b11de.${seq}","seq":${seq},"type":"story.viewed","data":{"story_id":"550e8400-e29b-41d4-a716-446655440000","viewer_id":"${viewer}","viewed_at":"${at}"},"timestamp":"${at}"}`
}

/** Users → their connections, for the servers that keep them by hand. */
export class Crowd {
  readonly #sends = new Map<string, Set<(seq: number, json: string) => void>>()

  /** Returns what takes the connection out again. */
  join(user: string, send: (seq: number, json: string) => void): () => void {
    const own = this.#sends.get(user) ?? new Set()
    this.#sends.set(user, own)
    own.add(send)
    return () => {
      own.delete(send)
      if (own.size === 0) this.#sends.delete(user)
    }
  }

  publish: Publish = (user, seq, json) => {
    for (const send of this.#sends.get(user) ?? []) send(seq, json)
  }
}

/** The user a stream's URL names. */
export function userOf(url = ''): string {
  const user = new URL(url, 'http://localhost').searchParams.get('user')
  if (user === null) throw new Error(`${url} names no user`)
  return user
}
