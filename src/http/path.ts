const AUTHORITY = /^https?:\/\/[^/?#]*/i

/** RFC 3986 §2.3: encoded or not, these mean the same. */
const UNRESERVED = /^[\w.~-]$/

/**
 * The path of a request-target (RFC 9112 §3.2) in origin-form or, as proxies send it, absolute-form. It is normalised once, so
 * that all decisions use one spelling (RFC 3986 §6.2.2): `/%6detrics` becomes `/metrics`; remaining escapes are in upper case.
 * Dot segments and empty segments stay, because no route has any.
 */
export function normalPath(target: string): string {
  const text = originForm(target)
  const question = text.indexOf('?')
  const path = (question === -1 ? text : text.slice(0, question)) || '/'
  return path.includes('%') ? path.replace(/%[0-9a-f]{2}/gi, normalOctet) : path
}

/** The query of the target, without the question mark. */
export function queryOf(target: string): string {
  const question = target.indexOf('?')
  return question === -1 ? '' : target.slice(question + 1)
}

function originForm(target: string): string {
  // Not by the length of the URL's origin: that is normalised, without the user and the default port.
  return target.startsWith('/') ? target : target.replace(AUTHORITY, '')
}

function normalOctet(octet: string): string {
  const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16))
  return UNRESERVED.test(character) ? character : octet.toUpperCase()
}
