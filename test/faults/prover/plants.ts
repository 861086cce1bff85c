/** A change to one file of a copied build: the text `find`, which is there exactly once, becomes `put`. */
export interface Edit {
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
  file: 'dist/hub/connection.js',
  find: 'run.first > this.#cursor + 1 || ',
  put: '',
}

/** A number is taken for its event, whatever came before it in the history that it is from. */
export const numbersProve: Edit = {
  file: 'dist/hub/connection.js',
  find: 'if (isKnown ? before !== this.#time : !fromLog)',
  put: 'if (false)',
}

const noSweep: Edit = {
  file: 'dist/service.js',
  find: 'const SWEEP_INTERVAL_MS = 4000;',
  put: 'const SWEEP_INTERVAL_MS = 86_400_000;',
}

const noSweepAfterGap: Edit = {
  file: 'dist/hub/hub.js',
  find: `gap(epoch) {
        this.#adopt(epoch);
        void this.sweep();`,
  put: `gap(epoch) {
        this.#adopt(epoch);`,
}

/** Events are taken as they come, and one in `n` never does. */
export function losesOneIn(n: number): Plant {
  return {
    name: `the bus loses one event in ${n}`,
    edits: [
      anyNext,
      numbersProve,
      {
        file: 'dist/bus/payload.js',
        find: 'const body = payload.slice(previousEnd + 1, end);',
        put: `globalThis.lines = (globalThis.lines ?? 0) + 1;
    if (globalThis.lines % ${n} === 0) return false;
    const body = payload.slice(previousEnd + 1, end);`,
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
      file: 'dist/http/stories.js',
      find: 'await context.app.views.submit({ storyId: id, viewerId: user, origin })',
      put: `(setTimeout(() => context.app.views.submit({ storyId: id, viewerId: user }).catch(() => {}), 300),
        { outcome: 'recorded', at: new Date().toISOString() })`,
    },
  ],
}

/** Where a cursor whose check fits is continued. */
const PROVEN = `if (!cursors.fits(point, time))
                return { ...end, resumed: false, reset: 'epoch' };
            return { seq, time, resumed: true, reset: undefined };`

/** A client that comes back goes on one event too late. */
export const resumesOneLate: Plant = {
  name: 'resumes at cursor + 1',
  edits: [
    {
      file: 'dist/hub/resume.js',
      find: PROVEN,
      put: 'return { seq: Math.min(seq + 1, end.seq), time: undefined, resumed: true, reset: undefined };',
    },
  ],
}

/** A client that comes back goes on with what comes next, without the log. */
export const skipsCatchUp: Plant = {
  name: 'resumes without the log',
  edits: [
    {
      file: 'dist/hub/resume.js',
      find: PROVEN,
      put: 'return { ...end, resumed: true, reset: undefined };',
    },
  ],
}
