import { createKeySetFetcher } from '../../auth/fetch-key-set.ts'
import { type Finding, ok, problem, skipped } from './finding.ts'

/** Fetches each key set of JWKS_URL once, as the service does. */
export async function checkKeySets(urls: readonly string[]): Promise<readonly Finding[]> {
  if (urls.length === 0) return [skipped('key set', 'JWKS_URL is not set')]
  return (await Promise.all(urls.map(checkKeySet))).flat()
}

async function checkKeySet(url: string): Promise<readonly Finding[]> {
  const fetcher = createKeySetFetcher(url, 5000)
  try {
    const { keySet } = await fetcher.fetch()
    const kinds = [...new Set(keySet.keys.map(({ kty }) => kty))].join(', ')
    if (keySet.keys.length > 0)
      return [ok('key set', `${fetcher.name} holds ${keySet.keys.length} usable (${kinds})`)]
    return [
      problem(
        'key set',
        `JWKS_URL ${fetcher.name} holds no key that can sign tokens`,
        'have the issuer publish an RSA, EC or OKP public key (for RS256, PS256, ES256 or EdDSA)',
      ),
    ]
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException
    return [
      problem(
        'key set',
        `JWKS_URL ${fetcher.name} cannot be fetched: ${message || code}`,
        'open it with curl from this machine: it must answer 200 with {"keys": […]}, without a redirect; until it does, every token is answered 503',
      ),
    ]
  } finally {
    await fetcher.close()
  }
}
