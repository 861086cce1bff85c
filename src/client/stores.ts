import { split } from './position.ts'
import type { CursorStore } from './types.ts'

/**
 * Saves the cursor in the browser's localStorage, so that a page that is closed and opened again continues where it was.
 * The key must name the user, because a cursor belongs to one user's stream. If pages share a key, it holds the furthest
 * cursor of them all, and a new page begins there. If a page has no storage (a frame of another site), nothing is saved.
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
