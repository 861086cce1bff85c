/** A change to one source or migration: the text `find`, which is in the file exactly once, becomes `put`. */
export interface Edit {
  /** From the repository's root on. */
  readonly file: string
  readonly find: string
  readonly put: string
}

/** A bug to be planted; the name goes into the report. */
export interface Plant {
  readonly name: string
  readonly edits: readonly Edit[]
}

/** A connection pushes whatever comes next on the bus, whether or not it is the next event. */
const anyNext: Edit = {
  file: 'src/hub/connection.ts',
  find: 'run.first > this.#cursor + 1 || ',
  put: '',
}

/** A number is taken for its event, whatever came before it in the history that it is from. */
export const numbersProve: Edit = {
  file: 'src/hub/connection.ts',
  find: 'if (isKnown ? before !== this.#time : !fromLog)',
  put: 'if (false)',
}

const noSweep: Edit = {
  file: 'src/service.ts',
  find: 'const SWEEP_INTERVAL_MS = 4000',
  put: 'const SWEEP_INTERVAL_MS = 86_400_000',
}

const noSweepAfterGap: Edit = {
  file: 'src/hub/hub.ts',
  find: `gap(epoch: string): void {
    this.#adopt(epoch)
    void this.sweep()`,
  put: `gap(epoch: string): void {
    this.#adopt(epoch)`,
}

/** Events are taken as they come, and one in `n` never does. */
export function losesOneIn(n: number): Plant {
  return {
    name: `the bus loses one event in ${n}`,
    edits: [
      anyNext,
      numbersProve,
      {
        file: 'src/bus/payload.ts',
        find: 'const body = payload.slice(previousEnd + 1, end)',
        put: `const counter = globalThis as { lines?: number }
  counter.lines = (counter.lines ?? 0) + 1
  if (counter.lines % ${n} === 0) return false
  const body = payload.slice(previousEnd + 1, end)`,
      },
    ],
  }
}

/** What a service does that takes NOTIFY for a queue: no density check, no look at the log after a gap. */
export const believesNotify: Plant = {
  name: 'NOTIFY is believed',
  edits: [anyNext, numbersProve, noSweep, noSweepAfterGap],
}

export const neverSweeps: Plant = { name: 'no sweep', edits: [noSweep] }

/** The viewer is told at once, and the view written a little later. */
export const writesBehind: Plant = {
  name: 'acknowledged before the commit',
  edits: [
    {
      file: 'src/http/stories.ts',
      find: 'await context.app.views.submit({ storyId: id, viewerId: user, origin })',
      put: `(setTimeout(() => context.app.views.submit({ storyId: id, viewerId: user }).catch(() => {}), 300),
        { outcome: 'recorded' as const, at: new Date().toISOString() })`,
    },
  ],
}

/** Where a cursor whose check fits is continued. */
const PROVEN = `if (!cursors.fits(point, time)) return { resumed: false, reset: 'epoch', ...end }
      return { resumed: true, reset: undefined, seq, time }`

/** A client that comes back goes on one event too late. */
export const resumesOneLate: Plant = {
  name: 'resumes at cursor + 1',
  edits: [
    {
      file: 'src/hub/resume.ts',
      find: PROVEN,
      put: 'return { seq: Math.min(seq + 1, end.seq), time: undefined, resumed: true, reset: undefined }',
    },
  ],
}

/** A client that comes back goes on with what comes next, without the log. */
export const skipsCatchUp: Plant = {
  name: 'resumes without the log',
  edits: [
    {
      file: 'src/hub/resume.ts',
      find: PROVEN,
      put: 'return { ...end, resumed: true, reset: undefined }',
    },
  ],
}
