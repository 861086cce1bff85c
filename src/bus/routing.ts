import { CALL_PREFIX, QUEUED } from './control.ts'

/** TAB, which begins what is for an instance, and a trailer. */
const TAB = 9

/**
 * Divides NOTIFY payloads among those they are for (what they look like: payload.ts). Each part is itself a payload, with
 * its lines in order and its trailer. A line that names nobody is left out; what it says is judged where it arrives.
 */
export class Routing {
  readonly users = new Map<string, string[]>()
  readonly instances = new Map<string, string[]>()
  /** Whether all instances are called to the queue. */
  queued = false

  add(payload: string): void {
    if (payload === QUEUED) this.queued = true
    else if (payload.charCodeAt(0) === TAB) this.#addCall(payload)
    else this.#addLines(payload)
  }

  #addCall(payload: string): void {
    const nameAt = payload.startsWith(CALL_PREFIX) ? CALL_PREFIX.length : 1
    const end = payload.indexOf('\t', nameAt)
    const instance = end === -1 ? payload.slice(nameAt) : payload.slice(nameAt, end)
    if (instance !== '') push(this.instances, instance, payload)
  }

  #addLines(payload: string): void {
    const trailerAt = payload.lastIndexOf('\n\t')
    const linesEnd = trailerAt === -1 ? payload.length : trailerAt
    const firstLineEnd = payload.indexOf('\n')
    if (firstLineEnd === -1 || firstLineEnd === linesEnd) {
      const user = userOf(payload, 0)
      if (user !== '') push(this.users, user, payload)
      return
    }
    const trailer = payload.slice(linesEnd)
    const lines = new Map<string, string>()
    for (let start = 0; start < linesEnd; ) {
      const newline = payload.indexOf('\n', start)
      const end = newline === -1 ? payload.length : newline
      const user = userOf(payload, start)
      const before = lines.get(user)
      const line = payload.slice(start, end)
      lines.set(user, before === undefined ? line : `${before}\n${line}`)
      start = end + 1
    }
    for (const [user, own] of lines) if (user !== '') push(this.users, user, own + trailer)
  }
}

/** Empty where the line names nobody. */
function userOf(payload: string, start: number): string {
  const end = payload.indexOf('\t', start)
  const user = end === -1 ? '' : payload.slice(start, end)
  return user.includes('\n') ? '' : user
}

function push(parts: Map<string, string[]>, name: string, part: string): void {
  const own = parts.get(name)
  if (own === undefined) parts.set(name, [part])
  else own.push(part)
}
