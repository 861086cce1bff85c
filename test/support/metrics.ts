import { call } from './api.ts'

/** One sample of `/metrics`, by its name and labels as they stand there, such as `a_total{b="c"}`. */
export type Samples = ReadonlyMap<string, number>

export async function scrape(url: string): Promise<Samples> {
  return parseSamples((await call(url, '/metrics')).text)
}

/** Prometheus text format, without its comments. */
export function parseSamples(text: string): Samples {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }),
  )
}
