import type { Plant } from './plants.ts'

/** The statement that all writers share waits for a lock as long as for anything else. */
export const waitsForLocks: Plant = {
  name: 'the shared batch waits for locks',
  edits: [{ file: 'dist/store/batcher.js', find: 'lockTimeoutMs: 30,', put: 'lockTimeoutMs: 2000,' }],
}
