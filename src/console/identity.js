import { RequestFailed, request } from './api.js'

/** The service issues no tokens, and none was pasted: the person at the page must paste one. */
export class NeedsToken extends RequestFailed {}

/**
 * One of the two users on the page and their token, which was pasted or, in development, issued by the service. Tokens are
 * kept in memory, and pasted ones in sessionStorage too; never in the page's URL or localStorage.
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

  /** The user: the token's subject, else the name field's text. */
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
   * Uses a pasted token, or forgets it (`undefined`).
   * @param {string | undefined} token
   * @throws {Error} if it is not a JWT with a `sub`; the service verifies the signature
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
   * @throws {NeedsToken} if the service issues none (production) and none was pasted
   */
  async token({ fresh = false } = {}) {
    if (this.#pasted !== undefined) return this.#pasted
    if (this.#issued !== undefined && !fresh) return this.#issued
    // Keep the promise, not the token, so that panels that start together ask once; but not a failed one.
    const issued = issueToken(this.#name)
    this.#issued = issued
    issued.catch(() => {
      if (this.#issued === issued) this.#issued = undefined
    })
    return issued
  }

  /**
   * A request as this user; an expired development token is replaced once.
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
      `This service issues no tokens (it runs in production). Paste one for ${user} under “Use your own token (JWT)”.`,
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
    // Not base64, or not JSON: the error below covers both.
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
