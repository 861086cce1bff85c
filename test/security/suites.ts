/** A row of the table: what was tried, and the test files that try it. */
export interface Suite {
  readonly name: string
  /** Paths, or where they end in a slash folders, from the repository's root. */
  readonly files: readonly string[]
}

export const SUITES: readonly Suite[] = [
  { name: 'WebSocket conformance', files: ['test/security/websocket-conformance.test.ts'] },
  { name: 'Malformed HTTP', files: ['test/security/malformed-http.test.ts'] },
  { name: 'Slow and idle clients', files: ['test/security/slow-clients.test.ts'] },
  { name: 'Ended sockets', files: ['test/security/ended-sockets.test.ts'] },
  { name: 'Bounded answers', files: ['test/security/bounded-answers.test.ts'] },
  { name: 'Full machines', files: ['test/security/full-machine.test.ts'] },
  { name: 'Fuzzed routes', files: ['test/security/fuzz-routes.test.ts'] },
  { name: 'Codecs', files: ['test/security/codecs.test.ts'] },
  { name: 'Naughty strings', files: ['test/security/naughty-strings.test.ts'] },
  { name: 'Who may see what', files: ['test/security/isolation.test.ts'] },
  { name: 'Signature and key vectors', files: ['test/security/vectors.test.ts'] },
  { name: 'Roles of the database', files: ['test/security/database-roles.test.ts'] },
  { name: 'Tokens', files: ['test/security/tokens.test.ts', 'test/auth/'] },
  { name: 'Floods', files: ['test/security/floods.test.ts'] },
  { name: 'Packages', files: ['test/security/packages.test.ts'] },
  { name: 'Threat model', files: ['test/security/threat-model.test.ts'] },
]

/** The suite that a test file belongs to, by its path from the root. */
export function suiteOf(file: string): Suite | undefined {
  return SUITES.find(({ files }) =>
    files.some((path) => (path.endsWith('/') ? file.startsWith(path) : file === path)),
  )
}
