/** Clients that lost their connections all at once, and the instances that take them back. */
export interface Crowd {
  readonly clients: number
  /** Over how many seconds the first attempts are spread. */
  readonly spreadSeconds: number
  /** Clients taken back a second, all instances together. */
  readonly capacity: number
  /** After this long without an answer a client gives up and tries again; what was begun for it is wasted. */
  readonly patienceSeconds: number
  /** A second attempt waits this long, a third twice as long, up to the most; each drawn from half to the whole. */
  readonly backoffSeconds: number
  readonly maxBackoffSeconds: number
}

export interface Storm {
  /** Until the last one is back; Infinity where that takes more than an hour. */
  readonly seconds: number
  /** Attempts, for each client. */
  readonly attempts: number
  readonly longestQueue: number
}

const STEP_SECONDS = 0.1
const AN_HOUR = 3600

/** Attempts that came in the same step wait in the queue together, whatever number of attempts they are. */
interface Cohort {
  readonly arrived: number
  readonly attempt: number
  clients: number
}

/**
 * Steps of a tenth of a second: attempts due arrive and queue; the instances take the queue's head in order, also those
 * who have given up meanwhile, since a server learns of that last; who gave up draws a later time.
 */
export function simulateStorm(crowd: Crowd): Storm {
  const due = new Map<number, Map<number, number>>()
  const schedule = (from: number, to: number, attempt: number, clients: number) => {
    const steps = Math.max(1, Math.round((to - from) / STEP_SECONDS))
    for (let i = 0; i < steps; i += 1) {
      const step = Math.round(from / STEP_SECONDS) + i
      const attempts = due.get(step) ?? new Map<number, number>()
      attempts.set(attempt, (attempts.get(attempt) ?? 0) + clients / steps)
      due.set(step, attempts)
    }
  }
  schedule(0, crowd.spreadSeconds, 1, crowd.clients)
  let queue: Cohort[] = []
  let [back, attempts, waiting, longestQueue] = [0, 0, 0, 0]
  for (let step = 0; step * STEP_SECONDS < AN_HOUR; step += 1) {
    const now = step * STEP_SECONDS
    for (const [attempt, clients] of due.get(step) ?? []) {
      queue.push({ arrived: now, attempt, clients })
      attempts += clients
      waiting += clients
    }
    due.delete(step)
    longestQueue = Math.max(longestQueue, waiting)
    for (let room = crowd.capacity * STEP_SECONDS; room > 1e-9 && queue.length > 0; ) {
      const head = queue[0] as Cohort
      const taken = Math.min(room, head.clients)
      room -= taken
      head.clients -= taken
      waiting -= taken
      if (head.clients < 1e-9) queue = queue.slice(1)
      if (now - head.arrived <= crowd.patienceSeconds) {
        back += taken
        continue
      }
      const wait = Math.min(crowd.maxBackoffSeconds, crowd.backoffSeconds * 2 ** (head.attempt - 1))
      const gaveUp = head.arrived + crowd.patienceSeconds
      const next = now + STEP_SECONDS
      schedule(Math.max(next, gaveUp + wait / 2), Math.max(next, gaveUp + wait), head.attempt + 1, taken)
    }
    if (back >= crowd.clients * (1 - 1e-6))
      return { seconds: now, attempts: attempts / crowd.clients, longestQueue }
  }
  return { seconds: Number.POSITIVE_INFINITY, attempts: attempts / crowd.clients, longestQueue }
}
