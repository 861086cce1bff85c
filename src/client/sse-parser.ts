/** More than any event of the service; bounds the memory that a broken peer can take. */
const MAX_CHARACTERS = 1 << 20

/**
 * Parses an event stream (WHATWG HTML §9.2.6) piece by piece. It keeps only `data`, whose JSON has the type and the cursor
 * too; it ignores comments and unknown fields.
 */
export class SseParser {
  #rest = ''
  #data: string[] = []

  /** Takes the next piece of text, cut anywhere, and returns the data of the events that it completes. */
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
