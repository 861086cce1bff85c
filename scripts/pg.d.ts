/** What scripts/ uses of pg, which ships no types: a client, and query classes of one's own (as pg-cursor is one). */
declare module 'pg' {
  import type { EventEmitter } from 'node:events'

  export interface Connection {
    query(text: string): void
    sendCopyFail(reason: string): void
  }

  /** An ErrorResponse or NoticeResponse; `message` and what else the server told. */
  export interface ServerMessage {
    readonly message?: string | undefined
    readonly severity?: string
    readonly code?: string
    readonly detail?: string
    readonly hint?: string
  }

  export interface Submittable {
    submit(connection: Connection): void
    handleRowDescription(message: { readonly fields: readonly { name: string; dataTypeID: number }[] }): void
    /** Values as text, since the simple protocol sends nothing else. */
    handleDataRow(message: { readonly fields: readonly (string | null)[] }): void
    handleCommandComplete(message: { readonly text: string }): void
    handleEmptyQuery(): void
    handleCopyInResponse(connection: Connection): void
    handleCopyData(message: { readonly chunk: Buffer }): void
    handleError(error: Error): void
    handleReadyForQuery(): void
  }

  export class Client extends EventEmitter {
    constructor(options: {
      user: string
      password: string
      database: string
      ssl: boolean
      stream: () => unknown
      application_name?: string
      options?: string
    })
    connect(): Promise<void>
    query(query: Submittable): void
    end(): Promise<void>
    on(event: 'notice', listener: (notice: ServerMessage) => void): this
    on(event: 'error', listener: (error: Error) => void): this
  }
}
