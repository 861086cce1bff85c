/** As much of a page as a test needs, whichever engine shows it and whichever library drives it. */
export interface EnginePage {
  goto(url: string): Promise<unknown>
  /** Where the page is. Safe while it is being left: an answer to `evaluate` may then be lost. */
  url(): string | Promise<string>
  /** Runs text in the page; what it evaluates to comes back as JSON does. */
  evaluate<Value>(script: string): Promise<Value>
  close(): Promise<unknown>
}

export interface Engine {
  /** Another tab of the same browser: all share its storage. */
  newPage(): Promise<EnginePage>
  close(): Promise<void>
}
