import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Whether a certificate can be made here. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/** Paths of PEM files. */
export interface Certificates {
  /** The private authority's own certificate. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

const DAY = ['-days', '1']
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** A private authority in the folder, and a certificate for these names that it signed; good for a day. */
export function makeCertificates(folder: string, names: readonly string[], prefix = ''): Certificates {
  const file = (name: string) => join(folder, `${prefix}${name}`)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
  openssl(
    'req',
    '-x509',
    ...KEY,
    ...DAY,
    '-subj',
    '/CN=Private CA',
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.pem'),
  )
  openssl('req', ...KEY, '-subj', '/CN=server', '-keyout', file('server.key'), '-out', file('server.csr'))
  writeFileSync(
    file('ext'),
    `subjectAltName=${names.map((name) => (/^[\d.]+$|:/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',')}`,
  )
  openssl(
    'x509',
    '-req',
    ...DAY,
    '-in',
    file('server.csr'),
    '-CA',
    file('ca.pem'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-extfile',
    file('ext'),
    '-out',
    file('server.pem'),
  )
  return { ca: file('ca.pem'), cert: file('server.pem'), key: file('server.key') }
}
