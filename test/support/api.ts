import { signToken } from './token.ts'

export interface Reply<Body = Record<string, unknown>> {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed body where it is JSON, else undefined (the type is what the test expects, not a check). */
  readonly json: Body
}

export interface Call {
  readonly method?: string
  readonly token?: string
  readonly json?: unknown
  readonly body?: BodyInit
  readonly headers?: Record<string, string>
}

export interface Story {
  readonly id: string
  readonly author_id: string
  readonly text: string | null
  readonly created_at: string
  readonly expires_at: string
  readonly views: number
  readonly reactions: Record<string, number>
}

export interface View {
  readonly story_id: string
  readonly viewer_id: string
  readonly viewed_at: string
  readonly recorded: boolean
}

export interface Reaction {
  readonly story_id: string
  readonly user_id: string
  readonly emoji: string
  readonly reacted_at: string
  readonly recorded: boolean
}

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail?: string
  readonly field?: string
}

/** One HTTP request; every status resolves, redirects are not followed. */
export async function call<Body = Record<string, unknown>>(
  url: string,
  path: string,
  { method = 'GET', token, json, body, headers = {} }: Call = {},
): Promise<Reply<Body>> {
  const response = await fetch(new URL(path, url), {
    method,
    redirect: 'manual',
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    body: json === undefined ? (body ?? null) : JSON.stringify(json),
    ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
  })
  const text = await response.text()
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '') && text !== ''
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: (isJson ? JSON.parse(text) : undefined) as Body,
  }
}

/** One user of one instance, with a token of their own. */
export class Caller {
  readonly url: string
  readonly user: string
  readonly token: string

  constructor(url: string, user: string, token: string) {
    this.url = url
    this.user = user
    this.token = token
  }

  /** The same user on another instance. */
  at(url: string): Caller {
    return new Caller(url, this.user, this.token)
  }

  call<Body = Record<string, unknown>>(method: string, path: string, json?: unknown): Promise<Reply<Body>> {
    return call<Body>(this.url, path, { method, token: this.token, json })
  }

  /** Posts a story and gives its id; fails unless it was created. */
  async post(story: { text?: string; expires_in?: number } = {}): Promise<string> {
    return (await this.#expect<Story>(201, 'POST', '/stories', story)).id
  }

  story(id: string): Promise<Story> {
    return this.#expect(200, 'GET', `/stories/${id}`)
  }

  view(id: string): Promise<View> {
    return this.#expect(200, 'POST', `/stories/${id}/view`)
  }

  react(id: string, emoji: string): Promise<Reaction> {
    return this.#expect(200, 'POST', `/stories/${id}/reactions`, { emoji })
  }

  async unreact(id: string): Promise<void> {
    await this.#expect(204, 'DELETE', `/stories/${id}/reactions`)
  }

  async #expect<Body>(status: number, method: string, path: string, json?: unknown): Promise<Body> {
    const reply = await this.call<Body>(method, path, json)
    if (reply.status !== status)
      throw new Error(`${method} ${path}: expected ${status}, got ${reply.status} ${reply.text}`)
    return reply.json
  }
}

let made = 0

/** A user that no other test of this file knows: `alice` becomes `alice-7`. */
export function uniqueName(name: string): string {
  made += 1
  return `${name}-${made}`
}

/** New users with tokens for the instance at `url`, their names made unique. */
export function newCallers(url: string, ...names: string[]): Promise<Caller[]> {
  return Promise.all(
    names.map(async (name) => {
      const user = uniqueName(name)
      return new Caller(url, user, await signToken(user))
    }),
  )
}
