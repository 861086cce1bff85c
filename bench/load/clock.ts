/**
 * Milliseconds with a fraction on the machine's monotonic clock, which all its processes share: the latency of an
 * event that one process sends and another receives is a difference of two of these. The wall clock may be set
 * meanwhile.
 */
export function nowMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1000 + nanoseconds / 1e6
}
