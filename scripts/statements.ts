import type { Connection, Submittable } from 'pg'

/** One statement's answer. */
export interface Answer {
  /** `INSERT 0 1`, `CREATE TABLE`, `SELECT 3`: the command tag, as the server gives it. */
  readonly tag: string
  /** Absent where the statement gives no rows. */
  readonly columns?: readonly { readonly name: string; readonly type: number }[]
  readonly rows: readonly (readonly (string | null)[])[]
}

/**
 * A text of any number of statements in the simple protocol: the server runs them as one transaction and each
 * answer is handed on as it comes, so that those before an error are seen too.
 */
export class Statements implements Submittable {
  readonly done: Promise<void>
  readonly #text: string
  readonly #onAnswer: (answer: Answer) => void
  readonly #onCopy: (chunk: Buffer) => void
  #columns: Answer['columns']
  #rows: (readonly (string | null)[])[] = []
  #settle!: { resolve(): void; reject(error: Error): void }

  constructor(text: string, onAnswer: (answer: Answer) => void, onCopy: (chunk: Buffer) => void) {
    this.#text = text
    this.#onAnswer = onAnswer
    this.#onCopy = onCopy
    this.done = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
  }

  submit(connection: Connection): void {
    connection.query(this.#text)
  }

  handleRowDescription({ fields }: Parameters<Submittable['handleRowDescription']>[0]): void {
    this.#columns = fields.map(({ name, dataTypeID }) => ({ name, type: dataTypeID }))
  }

  handleDataRow({ fields }: Parameters<Submittable['handleDataRow']>[0]): void {
    this.#rows.push(fields)
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    const columns = this.#columns
    this.#onAnswer({ tag: text, rows: this.#rows, ...(columns && { columns }) })
    this.#columns = undefined
    this.#rows = []
  }

  handleEmptyQuery(): void {}

  /** Standard input may be where the SQL came from; without an answer the server would wait for ever. */
  handleCopyInResponse(connection: Connection): void {
    connection.sendCopyFail('COPY FROM STDIN needs psql')
  }

  handleCopyData({ chunk }: { readonly chunk: Buffer }): void {
    this.#onCopy(chunk)
  }

  handleError(error: Error): void {
    this.#settle.reject(error)
  }

  handleReadyForQuery(): void {
    this.#settle.resolve()
  }
}
