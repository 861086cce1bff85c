import { fileURLToPath } from 'node:url'
import type { Instance } from './instance.ts'

/** What an instance holds after its garbage was collected. */
export interface Census {
  /** JavaScript's heap and the buffers outside of it. */
  readonly bytes: number
  readonly rss: number
  /** Timers of every kind, running and dead; the pools and the runtime keep a few more or less. */
  readonly timerObjects: number
  /** What must be as it was once everybody has left. */
  readonly exact: Readonly<Record<string, number>>
}

/** The environment of an instance whose census can be taken. */
export const CENSUS_ENVIRONMENT = {
  NODE_OPTIONS: `--import=${fileURLToPath(new URL('census.mjs', import.meta.url))}`,
}

/** Takes the census of a running instance. */
export async function takeCensus(instance: Instance): Promise<Census> {
  // So that a connection of ours is there each time, and counted each time.
  await instance.ready()
  return instance.inspect<Census>()
}
