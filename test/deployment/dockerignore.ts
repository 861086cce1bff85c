/**
 * Whether a path of the context is left out by the patterns of a .dockerignore: the last one that matches decides, a
 * folder's pattern holds for all in it, and `!` lets in again. Of wildcards only `*` and `**` as a whole segment are
 * understood.
 */
export function ignoredBy(text: string): (path: string) => boolean {
  const rules = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const segments = line.replace(/^!/, '').split('/')
      if (segments.some((segment) => /[*?[]./.test(segment) && segment !== '**'))
        throw new Error(`${line}: this pattern is not understood`)
      return { lets: line.startsWith('!'), segments }
    })
  return (path) => {
    const parts = path.split('/')
    return !(rules.findLast(({ segments }) => matches(segments, parts))?.lets ?? true)
  }
}

function matches(segments: readonly string[], parts: readonly string[]): boolean {
  const [segment, ...more] = segments
  if (segment === undefined) return true
  const [part, ...rest] = parts
  if (segment === '**') return matches(more, parts) || (part !== undefined && matches(segments, rest))
  return part !== undefined && (segment === '*' || segment === part) && matches(more, rest)
}
