import type { CursorStore } from './types.ts'

/**
 * Keeps the cursor in the browser's localStorage, so that a page that is closed and opened again goes on where it was.
 * The key must name the user: a cursor belongs to one user's stream. Pages that share a key save in turns; the events
 * between their places may come again after a reload.
 */
export function localStorageCursor(key: string): CursorStore {
  return {
    load: () => localStorage.getItem(key),
    save: (cursor) => localStorage.setItem(key, cursor),
  }
}
