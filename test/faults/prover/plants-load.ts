import type { Plant } from './plants.ts'

/** The statement that all writers share waits for a lock as long as for anything else. */
export const waitsForLocks: Plant = {
  name: 'the shared batch waits for locks',
  edits: [{ file: 'src/store/batcher.ts', find: 'lockTimeoutMs: 30,', put: 'lockTimeoutMs: 2000,' }],
}

/** An outbox without a bound: whatever a slow reader leaves is kept in memory. */
export const holdsAll: Plant = {
  name: 'no bound on what is unsent',
  edits: [
    {
      file: 'src/hub/connection.ts',
      find: 'this.#sink.unsent <= this.#limits.outboxMaxBytes',
      put: 'this.#sink.unsent >= 0',
    },
  ],
}

/** Who comes back from before the kept history goes on with the oldest event, and nobody says that there were others. */
export const trimsInSilence: Plant = {
  name: 'no reset where history was trimmed',
  edits: [
    {
      file: 'src/hub/resume.ts',
      find: "return { resumed: false, reset: 'trimmed', ...edge }",
      put: 'return { ...edge, resumed: true, reset: undefined }',
    },
  ],
}

/** Users whose last connection ended stay in the hub's map. */
export const forgetsNobody: Plant = {
  name: 'users who left are not forgotten',
  edits: [
    {
      file: 'src/hub/hub.ts',
      find: 'if (subscriber?.connections.size === 0)',
      put: 'if (subscriber === undefined)',
    },
  ],
}
