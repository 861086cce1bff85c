/**
 * Whether the `Host` of a request is this machine or one of the listed names. A page whose own name resolves to us (DNS
 * rebinding) looks like one of our pages by its Origin, but its requests have its own name as Host.
 *
 * @param listed host names and addresses without a port, in lower case
 */
export function isTrustedHost(host: string | undefined, listed: readonly string[]): boolean {
  const address = `http://${host}`
  if (host === undefined || host === '' || !URL.canParse(address)) return false
  // Like browsers, the parser normalises every spelling of an address.
  const name = new URL(address).hostname
  return LOOPBACK.test(name) || listed.includes(name)
}

/** RFC 6761 §6.3 reserves localhost and all names below it for the loopback. */
const LOOPBACK = /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
