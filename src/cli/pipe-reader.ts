import { fstatSync, lstatSync, readdirSync, readlinkSync } from 'node:fs'

const INTERVAL_MS = 500

/**
 * Calls back when whoever read our standard output is gone, as `head` is after its lines. Writing would tell it as well, but
 * a quiet stream may not write for hours, and Node has no poll(2). So on Linux, and for a pipe, the reader is looked for in
 * /proc; elsewhere nothing happens until the next write fails.
 *
 * @returns stops watching
 */
export function watchPipeReader(onGone: () => void): () => void {
  if (process.platform !== 'linux' || !fstatSync(1).isFIFO()) return () => {}
  const pipe = readlinkSync('/proc/self/fd/1')
  const find = () => readdirSync('/proc').find((name) => /^\d+$/.test(name) && readsFrom(name, pipe))
  // Looked for at once: a reader that was gone before the first look was never seen, and is waited for until a write.
  let reader = find()
  const timer = setInterval(() => {
    if (reader !== undefined && readsFrom(reader, pipe)) return
    const known = reader !== undefined
    // All of /proc is searched only where the reader of the last time no longer is one.
    reader = find()
    // Another user's process can't be looked into: who was never seen may still be there.
    if (reader !== undefined || !known) return
    clearInterval(timer)
    onGone()
  }, INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

function readsFrom(pid: string, pipe: string): boolean {
  const folder = `/proc/${pid}/fd`
  try {
    // The link's own mode says how the file is open: other holders of the writing end are no readers.
    return readdirSync(folder).some((fd) => {
      const path = `${folder}/${fd}`
      return readlinkSync(path) === pipe && (lstatSync(path).mode & 0o400) !== 0
    })
  } catch {
    // Ended meanwhile, or not ours to look into.
    return false
  }
}
