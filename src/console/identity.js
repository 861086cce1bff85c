import { RequestFailed, request } from './api.js'

/** The service issues no tokens and none was pasted: only the person at the page can help. */
export class NeedsToken extends RequestFailed {}

/**
 * One of the two people on the page and the token that proves who they are: pasted, or in development handed out by
 * the service. Tokens live in memory and, pasted ones, in sessionStorage; never in the page's URL or localStorage.
 */
export class Identity {
  #key
  #name
  /** @type {string | undefined} */
  #pasted
  /** @type {Promise<string> | undefined} */
  #issued

  /**
   * @param {string} role names the entry in sessionStorage
   * @param {string} name
   * @param {{ keep?: boolean }} [options] keep: whether a reload of the page finds the same person
   */
  constructor(role, name, { keep = true } = {}) {
    this.#key = `glimpse.${role}`
    this.#name = name
    if (!keep) return
    const kept = parseKept(sessionStorage.getItem(this.#key))
    this.#pasted = kept.token
    this.#name = kept.name ?? name
  }

  /** The user: what the token says, else what the name field says. */
  get name() {
    return this.#name
  }

  get hasOwnToken() {
    return this.#pasted !== undefined
  }

  /** The pasted token; undefined where there is none. */
  get pasted() {
    return this.#pasted
  }

  /** @param {string} name */
  rename(name) {
    this.#name = name
    this.#issued = undefined
    this.#keep()
  }

  /**
   * Takes a pasted token, or gives it up (`undefined`).
   * @param {string | undefined} token
   * @throws {Error} where it is not a JWT with a `sub`; the signature is the service's to judge
   */
  useToken(token) {
    if (token !== undefined) this.#name = subjectOf(token)
    this.#pasted = token
    this.#issued = undefined
    this.#keep()
  }

  /**
   * A token to send.
   * @param {{ fresh?: boolean }} [options] fresh: the last one was refused or has expired
   * @returns {Promise<string>}
   * @throws {NeedsToken} where the service issues none (production) and none was pasted
   */
  async token({ fresh = false } = {}) {
    if (this.#pasted !== undefined) return this.#pasted
    if (this.#issued !== undefined && !fresh) return this.#issued
    // The promise is kept, not the token: panels that start together ask once. A failed one must not stay.
    const issued = issueToken(this.#name)
    this.#issued = issued
    issued.catch(() => {
      if (this.#issued === issued) this.#issued = undefined
    })
    return issued
  }

  /**
   * A request as this person; a development token that has expired meanwhile is exchanged once.
   * @param {Omit<import('./api.js').Call, 'token'>} call
   * @returns {Promise<any>}
   */
  async request(call) {
    const token = await this.token()
    return request({ ...call, token }).catch(async (error) => {
      if (this.hasOwnToken || !(error instanceof RequestFailed) || error.status !== 401) throw error
      return request({ ...call, token: await this.token({ fresh: true }) })
    })
  }

  #keep() {
    sessionStorage.setItem(this.#key, JSON.stringify({ name: this.#name, token: this.#pasted }))
  }
}

/**
 * @param {string} user
 * @returns {Promise<string>}
 */
async function issueToken(user) {
  try {
    const { token } = await request({ method: 'POST', path: '/dev/tokens', body: { user } })
    return token
  } catch (error) {
    if (!(error instanceof RequestFailed) || error.status !== 404) throw error
    throw new NeedsToken(
      404,
      `This service hands out no tokens (it runs in production). Paste one for ${user} under “Use your own token (JWT)”.`,
    )
  }
}

/**
 * The `sub` of a JWT, unverified, to show whose it is.
 * @param {string} token
 */
function subjectOf(token) {
  try {
    const payload = token.split('.')[1] ?? ''
    const bytes = Uint8Array.from(atob(payload.replaceAll('-', '+').replaceAll('_', '/')), (c) =>
      c.charCodeAt(0),
    )
    const { sub } = JSON.parse(new TextDecoder().decode(bytes))
    if (typeof sub === 'string' && sub !== '') return sub
  } catch {
    // Not base64, not JSON: the sentence below says all there is to say.
  }
  throw new Error('That is not a JWT with a “sub”: expected three parts joined by dots.')
}

/**
 * @param {string | null} text
 * @returns {{ name?: string, token?: string }}
 */
function parseKept(text) {
  try {
    return JSON.parse(text ?? '{}')
  } catch {
    return {}
  }
}
