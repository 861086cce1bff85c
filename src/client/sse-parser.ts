/** More than any event of the service, and a bound on what a broken peer can make us hold. */
const MAX_CHARACTERS = 1 << 20

/**
 * Reads an event stream (WHATWG HTML §9.2.6) piece by piece. Only `data` is kept: the JSON in it says its own type and
 * cursor. Comments and unknown fields are passed over.
 */
export class SseParser {
  #rest = ''
  #data: string[] = []

  /** Takes the next piece of text, cut anywhere, and gives the data of the events that it completes. */
  push(text: string): string[] {
    const complete: string[] = []
    // A CR at the end may be half of a CRLF: it waits for the next piece.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    if (this.#rest.length > MAX_CHARACTERS) throw new Error('a line without an end')
    for (const line of lines) {
      if (line.startsWith('data:')) this.#data.push(line.slice(line[5] === ' ' ? 6 : 5))
      else if (line === '' && this.#data.length > 0) {
        complete.push(this.#data.join('\n'))
        this.#data = []
      }
    }
    return complete
  }
}
