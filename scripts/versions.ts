import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Where the version is written, and by what it is found there. */
const PLACES: readonly (readonly [file: string, pattern: RegExp])[] = [
  ['package.json', /^ {2}"version": "(.+)",$/gm],
  ['package-lock.json', /(?<="name": "glimpse",\n\s+)"version": "(.+)",$/gm],
  ['README.md', /^\*\*Status:\*\* version (\S+)\. /gm],
  ['README.md', /glimpse-client-(.+?)\.tgz/g],
  ['docs/quick-start.md', /glimpse-client-(.+?)\.tgz/g],
  ['docs/client.md', /glimpse-client-(\d.*?)\.tgz/g],
  ['docs/deployment.md', /\bglimpse:(\d\S*)/g],
  ['docs/observability.md', /\bglimpse:(\d[^\s`]*)/g],
  ['Dockerfile', /org\.opencontainers\.image\.version=(\S+)/g],
  ['compose.yaml', /^ {2}image: glimpse:(\S+)$/gm],
  ['deploy/kubernetes.yaml', /image: glimpse:(\S+)$/gm],
]

/** A version of the changelog, the newest first; Unreleased has no date and may be empty. */
export interface Release {
  readonly version: string
  readonly date: string | undefined
  readonly entries: number
}

/** What each place says; `undefined` where it says nothing. */
export async function versionsInFiles(): Promise<
  readonly (readonly [file: string, version: string | undefined])[]
> {
  const found = await Promise.all(
    PLACES.map(async ([file, pattern]) => {
      const versions = [...(await read(file)).matchAll(pattern)].map(([, version]) => version)
      return (versions.length === 0 ? [undefined] : versions).map((version) => [file, version] as const)
    }),
  )
  return found.flat()
}

/** The sections of CHANGELOG.md in order. */
export async function releases(): Promise<readonly Release[]> {
  const sections = (await read('CHANGELOG.md')).split(/^## /m).slice(1)
  return sections.map((section) => {
    const [, version = section.split('\n', 1)[0] ?? '', date] =
      /^\[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$/m.exec(section) ?? []
    return { version, date, entries: section.match(/^- /gm)?.length ?? 0 }
  })
}

function read(file: string): Promise<string> {
  return readFile(join(ROOT, file), 'utf8')
}
