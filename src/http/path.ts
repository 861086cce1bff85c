const AUTHORITY = /^https?:\/\/[^/?#]*/i

/** RFC 3986 §2.3: these mean the same whether encoded or not. */
const UNRESERVED = /^[\w.~-]$/

/**
 * The path of a request-target (RFC 9112 §3.2), in origin-form or, as proxies send it, absolute-form: made normal once,
 * so that every decision goes by one spelling (RFC 3986 §6.2.2). `/%6detrics` is `/metrics`; what stays encoded is in
 * upper case. Dots and empty segments are left as they are: no route has any.
 */
export function normalPath(target: string): string {
  const text = originForm(target)
  const question = text.indexOf('?')
  const path = (question === -1 ? text : text.slice(0, question)) || '/'
  return path.includes('%') ? path.replace(/%[0-9a-f]{2}/gi, normalOctet) : path
}

/** What follows the target's question mark. */
export function queryOf(target: string): string {
  const question = target.indexOf('?')
  return question === -1 ? '' : target.slice(question + 1)
}

function originForm(target: string): string {
  // Not by the URL's origin, which is no part of the text: it is lower case, without the user and the default port.
  return target.startsWith('/') ? target : target.replace(AUTHORITY, '')
}

function normalOctet(octet: string): string {
  const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16))
  return UNRESERVED.test(character) ? character : octet.toUpperCase()
}
