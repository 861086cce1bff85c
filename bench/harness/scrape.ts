/** Reads `/metrics` once; the answer gives the value of a series by its name, NaN where it is not there. */
export async function scrape(url: string): Promise<(name: string) => number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return (name) => {
    const line = text.split('\n').find((one) => one.startsWith(`${name} `))
    return line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
  }
}
