import type { Caller } from '../support/api.ts'
import { openSse } from '../support/clients/sse.ts'
import type { TestStream } from '../support/clients/stream.ts'
import { openWebSocket } from '../support/clients/websocket.ts'

/** A client as the documentation describes it: when its stream ends, it connects again and resumes. */
export class Follower {
  readonly seqs: number[] = []
  /** What each stream that ended was told by `stream.close`; undefined where it was cut. */
  readonly endings: (string | undefined)[] = []
  resets = 0
  #stream: TestStream | undefined
  #stopped = false
  /** Resolves when all events were seen; rejects where one does not come or a reconnect is refused. */
  done: Promise<void> | undefined

  /**
   * Resolves once it is connected; it then follows until it has seen `count` events or is stopped.
   *
   * @param caller asked for its URL at each connection
   */
  async start(transport: 'sse' | 'ws', caller: Pick<Caller, 'url' | 'token'>, count: number): Promise<this> {
    const open = (lastEventId?: string) => {
      const { url, token } = caller
      const options = { url, token, ...(lastEventId === undefined ? {} : { lastEventId }) }
      return transport === 'sse' ? openSse(options) : openWebSocket(options)
    }
    this.#stream = await open()
    this.done = this.#follow(open, count)
    this.done.catch(() => {}) // whoever awaits it hears of it
    return this
  }

  stop(): void {
    this.#stopped = true
    this.#stream?.close()
  }

  async #follow(open: (lastEventId?: string) => Promise<TestStream>, count: number): Promise<void> {
    while (this.seqs.length < count && !this.#stopped) {
      const stream = this.#stream
      if (stream === undefined) return
      try {
        for (;;) {
          const { json } = await stream.next()
          if ('seq' in json) this.seqs.push(json.seq)
          if (json.type === 'stream.reset') this.resets++
          if (this.seqs.length >= count) return
        }
      } catch (error) {
        if (!String(error).includes('the stream ended')) throw error
      }
      const last = stream.messages.at(-1)?.json
      this.endings.push(last?.type === 'stream.close' ? last.data.reason : undefined)
      if (!this.#stopped) this.#stream = await open(stream.cursor)
    }
  }
}
