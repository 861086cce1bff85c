import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'

const markdown = async (folder: string) =>
  (await readdir(folder)).filter((name) => name.endsWith('.md')).map((name) => join(folder, name))

const pages = [...(await markdown('.')), ...(await markdown('docs'))]

/** A page's text without its code, where brackets mean something else. */
const proseOf = async (page: string) =>
  (await readFile(page, 'utf8')).replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/`[^`\n]*`/g, 'code')

/** The anchors of a page's headings, as GitHub makes them. */
async function anchorsOf(page: string): Promise<string[]> {
  const text = (await readFile(page, 'utf8')).replaceAll(/^```[\s\S]*?^```$/gm, '')
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  )
}

/** What a page links to, shows, or embeds, but for other hosts. */
async function linksOf(page: string): Promise<string[]> {
  const text = await proseOf(page)
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g), ...text.matchAll(/(?:src|href|srcset)="([^"\s]+)"/g)]
  return links.map(([, link]) => link ?? '').filter((link) => !/^[a-z]+:/.test(link))
}

describe('the documents', () => {
  it('are there', () => {
    expect(pages.length).toBeGreaterThan(8)
  })

  it.each(pages)('%s links to nothing that is not there', async (page) => {
    const lost: string[] = []
    for (const link of await linksOf(page)) {
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? page : normalize(join(dirname(page), path))
      if (!existsSync(target)) lost.push(link)
      else if (anchor !== undefined && !(await anchorsOf(target)).includes(anchor)) lost.push(link)
    }
    expect(lost).toEqual([])
  })

  it('are all in the index, docs/README.md', async () => {
    const listed = (await linksOf('docs/README.md')).map((link) => join('docs', link))
    for (const page of await markdown('docs')) if (page !== 'docs/README.md') expect(listed).toContain(page)
  })
})
