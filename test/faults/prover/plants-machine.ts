import type { Plant } from './plants.ts'

/** What pino's own destination does: a line that can't be written ends the process. */
export const diesOfItsLog: Plant = {
  name: 'a full disk under the log is an exception',
  edits: [
    {
      file: 'src/observability/log-destination.ts',
      find: `this.#wait(bytes)
      else this.#lose()
      return`,
      put: `this.#wait(bytes)
      else throw error
      return`,
    },
  ],
}

/** What writing to a pipe does without further ado: the event loop waits until somebody reads. */
export const waitsForItsReader: Plant = {
  name: 'the log waits for its reader',
  edits: [
    {
      file: 'src/observability/log-destination.ts',
      find: "if (kind.isFIFO() || kind.isSocket()) process.stdout.on('error', () => {})",
      put: `if (kind.isFIFO() || kind.isSocket())
    (process.stdout as unknown as { _handle: { setBlocking(on: boolean): void } })._handle.setBlocking(true)`,
    },
  ],
}

/** Clients may have all descriptors, those included that Postgres' next connection would need. */
export const keepsNoDescriptors: Plant = {
  name: 'no descriptors are kept',
  edits: [
    {
      file: 'src/limits/sockets.ts',
      find: 'return descriptors - Math.min(RESERVED_DESCRIPTORS, Math.floor(descriptors / 2))',
      put: 'return descriptors',
    },
  ],
}

export const takesWhateverTheDelay: Plant = {
  name: 'work is taken however late the event loop is',
  edits: [{ file: 'src/limits/pressure.ts', find: 'if (!this.#late) return', put: 'return' }],
}
export const opensWhateverTheHeap: Plant = {
  name: 'streams are opened however full the heap is',
  edits: [{ file: 'src/limits/pressure.ts', find: 'if (!this.#full) return', put: 'return' }],
}
