import { createKeySetFetcher } from '../../auth/fetch-key-set.ts'
import { type Finding, fault, ok, skipped } from './finding.ts'

/** Fetches JWKS_URL once, as the service does. */
export async function checkKeySet(url: string | undefined): Promise<readonly Finding[]> {
  if (url === undefined) return [skipped('key set', 'JWKS_URL is not set')]
  const fetcher = createKeySetFetcher(url, 5000)
  try {
    const { keySet } = await fetcher.fetch()
    const kinds = [...new Set(keySet.keys.map(({ kty }) => kty))].join(', ')
    if (keySet.keys.length > 0)
      return [ok('key set', `${fetcher.name} holds ${keySet.keys.length} usable (${kinds})`)]
    return [
      fault(
        'key set',
        `JWKS_URL ${fetcher.name} holds no key that can sign tokens`,
        'have the issuer publish an RSA, EC or OKP public key (for RS256, ES256 or EdDSA)',
      ),
    ]
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    return [
      fault(
        'key set',
        `JWKS_URL ${fetcher.name} cannot be fetched: ${message || code}`,
        'open it with curl from this machine: it must answer 200 with {"keys": […]}, without a redirect; until it does, every token is answered 503',
      ),
    ]
  } finally {
    await fetcher.close()
  }
}
