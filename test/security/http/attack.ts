/** What an attack is made of: who is attacked, and the request that must not be smuggled in. */
export interface Target {
  readonly host: string
  /** `Authorization: Bearer …` of somebody who may view. */
  readonly authorization: string
  /** A whole request that would record a view: it must never be carried out. */
  readonly smuggled: string
  readonly story: string
}

export interface Attack {
  readonly what: string
  readonly bytes: (target: Target) => Buffer | string
  /**
   * `refused`: one answer in 4xx, or none, and the connection ended. `cut`: the connection ended, and nothing that was
   * answered before was an error. A list: answers of exactly these statuses.
   */
  readonly expected: 'refused' | 'cut' | readonly number[]
}

const head = (lines: readonly string[]) => `${lines.join('\r\n')}\r\n\r\n`

/** A request's head: a request line, `Host`, the caller, and these lines. */
export function request(line: string, { host, authorization }: Target, ...lines: string[]): string {
  return head([`${line} HTTP/1.1`, `Host: ${host}`, authorization, ...lines])
}

/** A POST of a story with the given framing, then what a lenient server would take for the next request. */
export function framed(...lines: string[]): (target: Target, body?: string) => string {
  return (target, body = '') =>
    request('POST /stories', target, 'Content-Type: application/json', ...lines) + body + target.smuggled
}
