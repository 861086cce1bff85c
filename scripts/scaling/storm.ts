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

const STEP_SECONDS = 0.1
const AN_HOUR = 3600

/**
 * Steps of a tenth of a second: attempts due arrive and queue; the instances take the queue's head in order, also those
 * who have given up meanwhile, since a server learns of that last; who gave up draws a later time. Returns the seconds
 * until the last one is back (Infinity where that takes more than an hour), and the attempts for each client.
 */
export function simulateStorm({ clients, capacity, ...crowd }: Crowd) {
  if (!Number.isFinite(capacity))
    return { seconds: Number.NaN, attempts: Number.NaN, longestQueue: Number.NaN }
  /** By step and number of the attempt: how many clients. */
  const due: number[][] = []
  const schedule = (from: number, to: number, attempt: number, count: number) => {
    const steps = Math.max(1, Math.round((to - from) / STEP_SECONDS))
    for (let i = 0; i < steps; i += 1) {
      const step = Math.round(from / STEP_SECONDS) + i
      due[step] ??= []
      due[step][attempt] = (due[step][attempt] ?? 0) + count / steps
    }
  }
  schedule(0, crowd.spreadSeconds, 1, clients)
  const queue: { readonly arrived: number; readonly attempt: number; count: number }[] = []
  let [back, attempts, waiting, longestQueue] = [0, 0, 0, 0]
  for (let [step, now] = [0, 0]; now < AN_HOUR; step += 1, now = step * STEP_SECONDS) {
    due[step]?.forEach((count, attempt) => {
      queue.push({ arrived: now, attempt, count })
      attempts += count
      waiting += count
    })
    longestQueue = Math.max(longestQueue, waiting)
    for (let room = capacity * STEP_SECONDS; room > 1e-9 && queue[0] !== undefined; ) {
      const [head] = queue
      const taken = Math.min(room, head.count)
      room -= taken
      waiting -= taken
      head.count -= taken
      if (head.count < 1e-9) queue.shift()
      const gaveUp = head.arrived + crowd.patienceSeconds
      if (now <= gaveUp) {
        back += taken
        continue
      }
      const wait = Math.min(crowd.maxBackoffSeconds, crowd.backoffSeconds * 2 ** (head.attempt - 1))
      const next = now + STEP_SECONDS
      schedule(Math.max(next, gaveUp + wait / 2), Math.max(next, gaveUp + wait), head.attempt + 1, taken)
    }
    if (back >= clients * (1 - 1e-6)) return { seconds: now, attempts: attempts / clients, longestQueue }
  }
  return { seconds: Number.POSITIVE_INFINITY, attempts: attempts / clients, longestQueue }
}
