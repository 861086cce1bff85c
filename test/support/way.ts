import { inject } from 'vitest'

/**
 * How instances of the tests reach their database where it is not the plain way: variables by name, in whose values
 * `{database}` stands for the database's name. `npm run test:field` puts real things in between by it.
 */
const WAY: Readonly<Record<string, string>> = JSON.parse(process.env.GLIMPSE_FIELD_WAY ?? '{}')

/** What instances are configured with to use this database; nothing is changed where a test has a way of its own. */
export function wayTo(databaseUrl: string): Readonly<Record<string, string>> {
  if (Object.keys(WAY).length === 0) return { DATABASE_URL: databaseUrl }
  const { host, pathname } = new URL(databaseUrl)
  if (host !== new URL(inject('serverUrl')).host) return { DATABASE_URL: databaseUrl }
  const variables = Object.entries(WAY).map(([name, value]) => [
    name,
    value.replaceAll('{database}', pathname.slice(1)),
  ])
  return { DATABASE_URL: databaseUrl, ...Object.fromEntries(variables) }
}
