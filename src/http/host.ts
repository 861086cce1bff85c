/**
 * Whether a request names this machine, or one of the names listed, as its `Host`. A page whose own name was made to
 * point here (DNS rebinding) has an Origin like that of our pages, but it can't choose another Host than its name.
 *
 * @param listed host names and addresses without a port, in lower case
 */
export function isTrustedHost(host: string | undefined, listed: readonly string[]): boolean {
  const address = `http://${host}`
  if (host === undefined || host === '' || !URL.canParse(address)) return false
  // As browsers do, the parser turns every spelling of an address into one.
  const name = new URL(address).hostname
  return LOOPBACK.test(name) || listed.includes(name)
}

/** RFC 6761 §6.3 keeps localhost and all below it for the loopback. */
const LOOPBACK = /^(?:(?:.+\.)?localhost|127(?:\.\d{1,3}){3}|\[::1\])$/
