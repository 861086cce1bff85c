import { split } from './position.ts'
import type { CursorStore } from './types.ts'

/**
 * Keeps the cursor in the browser's localStorage, so that a page that is closed and opened again goes on where it was.
 * The key must name the user: a cursor belongs to one user's stream. Where pages share a key, it holds the furthest place
 * that any of them has come to, and a page that is opened begins there. Where a page has no storage (a frame of another
 * site), nothing is kept.
 */
export function localStorageCursor(key: string): CursorStore {
  const load = () => {
    try {
      return localStorage.getItem(key)
    } catch {
      return null
    }
  }
  return {
    load,
    save: (cursor, reset) => {
      const [epoch, seq] = split(cursor)
      const [keptEpoch, keptSeq] = split(load() ?? '')
      if (reset || epoch !== keptEpoch || !(seq <= keptSeq)) localStorage.setItem(key, cursor)
    },
  }
}
