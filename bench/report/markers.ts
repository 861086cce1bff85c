/**
 * Puts generated text between `<!-- name -->` and `<!-- /name -->` of a page that people write; everything else stays
 * as it is. Throws where the page has not exactly one such pair: the text would land nowhere, or over somebody's words.
 */
export function replaceBetween(page: string, name: string, generated: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [page.indexOf(begin), page.indexOf(end)]
  if (from === -1 || to < from || page.indexOf(begin, from + 1) !== -1 || page.indexOf(end, to + 1) !== -1)
    throw new Error(`the page needs one ${begin} and one ${end} after it`)
  return `${page.slice(0, from + begin.length)}\n${generated.trim()}\n${page.slice(to)}`
}
