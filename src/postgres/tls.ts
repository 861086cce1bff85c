import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { ConnectionOptions as TlsConnectOptions } from 'node:tls'
import { ConnectionError } from './connection-error.ts'
import type { TlsMode, TlsOptions } from './connection-url.ts'

/** Whether to use TLS: never, if the server offers it, or always. */
export type Encryption = 'none' | 'offered' | 'always'

/** The attempts of a mode, in order (PostgreSQL manual, "SSL Mode Descriptions"). */
export function encryptionsOf(mode: TlsMode): readonly Encryption[] {
  switch (mode) {
    case 'disable':
      return ['none']
    case 'allow':
      return ['none', 'always']
    case 'prefer':
      return ['offered', 'none']
    default:
      return ['always']
  }
}

/**
 * Node's TLS options for a host. Files are read each time, so that renewed ones are used without a restart. As in libpq,
 * `require` verifies the certificate if a root certificate is given.
 *
 * @throws ConnectionError `TLS`, which names the parameter whose file cannot be read
 */
export async function tlsFor(tls: TlsOptions, host: string): Promise<TlsConnectOptions> {
  const usual = (name: string) => join(homedir(), '.postgresql', name)
  const [ca, crl, cert, key] = await Promise.all([
    tls.rootCert === 'system' ? undefined : readOption('sslrootcert', tls.rootCert, usual('root.crt')),
    readOption('sslcrl', tls.crl, usual('root.crl')),
    readOption('sslcert', tls.cert, usual('postgresql.crt')),
    readOption('sslkey', tls.key, usual('postgresql.key')),
  ])
  const verifies =
    tls.mode === 'verify-ca' || tls.mode === 'verify-full' || (tls.mode === 'require' && ca !== undefined)
  return {
    ca,
    crl,
    ...(cert === undefined || key === undefined ? {} : { cert, key, passphrase: tls.keyPassword }),
    // The certificate is compared with it. SNI sends a name, never an address (RFC 6066 §3).
    host,
    servername: tls.sendsName && isIP(host) === 0 ? host : '',
    rejectUnauthorized: verifies,
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    ...(tls.minVersion === undefined ? {} : { minVersion: tls.minVersion }),
    ...(tls.maxVersion === undefined ? {} : { maxVersion: tls.maxVersion }),
    ...(tls.direct ? { ALPNProtocols: ['postgresql'] } : {}),
  }
}

/** @param usual the default file, which may be missing */
async function readOption(
  parameter: string,
  file: string | undefined,
  usual: string,
): Promise<Buffer | undefined> {
  try {
    return await readFile(file ?? usual)
  } catch (error) {
    if (file === undefined) return undefined
    const { code } = error as NodeJS.ErrnoException
    throw new ConnectionError('TLS', `the file that ${parameter} names cannot be read: ${code}`, error)
  }
}
