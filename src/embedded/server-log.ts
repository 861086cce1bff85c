import { open, readFile, rename, stat } from 'node:fs/promises'

const MAX_BYTES = 4 * 1024 * 1024

/** Opens the server's log for appending. If it is large, it first replaces the previous log. */
export async function openServerLog(
  path: string,
): Promise<{ readonly fd: number; close(): Promise<void>; readonly offset: number }> {
  const size = await stat(path).then(
    (s) => s.size,
    () => 0,
  )
  if (size > MAX_BYTES) await rename(path, `${path}.1`)
  const file = await open(path, 'a', 0o600)
  return { fd: file.fd, offset: size > MAX_BYTES ? 0 : size, close: () => file.close() }
}

/** The text that the server wrote after `offset` (bytes). */
export async function readServerLog(path: string, offset: number): Promise<string> {
  const bytes = await readFile(path).catch(() => Buffer.alloc(0))
  return bytes.subarray(offset).toString('utf8')
}

/** The reason of a failure: the first error line, which causes the others, without time and pid. */
export function reasonIn(text: string): string | undefined {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const grave = lines.find((line) => /\b(PANIC|FATAL|ERROR|error): /.test(line)) ?? lines.at(-1)
  return grave?.replace(/^.* \[\d+\] /, '').trim()
}
