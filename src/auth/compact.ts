/**
 * Whether a text is a JWS in compact form (RFC 7515 §7.1): three parts in base64url without padding, and each the one
 * canonical encoding of its bytes (RFC 4648 §3.5). Decoders ignore blanks and stray bits, so one signature would fit many
 * texts, and code that revokes, counts or caches tokens by their text could be bypassed.
 */
export function isCompactJws(text: string): boolean {
  return COMPACT.test(text)
}

/** Full groups of four, then perhaps two or three characters of which the last has its unused bits zero. */
const PART = '(?:[\\w-]{4})*(?:[\\w-][AQgw]|[\\w-]{2}[AEIMQUYcgkosw048])?'
const COMPACT = new RegExp(`^${PART}\\.${PART}\\.${PART}$`)
