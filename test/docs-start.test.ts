import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'

const read = (path: string) => readFile(path, 'utf8')

it('the glossary of docs/concepts.md has words of src/event.ts, so that pages and code use the same', async () => {
  const words = [...(await read('docs/concepts.md')).matchAll(/^\| (\w+) \| .{10,} \|$/gm)].map(
    ([, word]) => word,
  )
  const known = [...(await read('src/event.ts')).matchAll(/^ \* (\w+(?:, \w+)?) {2,}\S/gm)].flatMap(
    ([, list = '']) => list.split(', '),
  )
  expect(words.filter((word) => !['word', '---'].includes(word ?? '')).length).toBeGreaterThan(20)
  expect(known).toEqual(expect.arrayContaining(words.filter((word) => word !== 'word')))
})

it('each question of docs/faq.md has an answer of a few lines that leads on to a page', async () => {
  const questions = [...(await read('docs/faq.md')).matchAll(/^### (.+)\n\n([\s\S]*?)(?=^#|(?![\s\S]))/gm)]
  expect(questions.length).toBeGreaterThan(20)
  for (const [, question, answer = ''] of questions) {
    expect(question).toMatch(/\?$/)
    expect([question, answer.length < 450]).toEqual([question, true])
    expect(answer, question).toMatch(/\]\([\w./-]+\.md(#[\w-]+)?\)/)
  }
})

it('docs/performance.md begins with ten lines of conclusions', async () => {
  const [, conclusions = ''] =
    /^## Conclusions\n\n([\s\S]*?)\n\n(?!\d)/m.exec(await read('docs/performance.md')) ?? []
  expect(conclusions.split('\n').map((line) => Number.parseInt(line, 10))).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
  ])
})
