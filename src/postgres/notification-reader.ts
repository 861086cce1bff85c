/** `A`: NotificationResponse. */
const NOTIFICATION = 0x41
/** A message's type, and its length, which counts itself and what follows. */
const HEADER_BYTES = 5
/** Then the sender's process id; the channel follows, and the payload, each with a zero at its end. */
const CHANNEL_AT = 9

const EMPTY = Buffer.alloc(0)

/**
 * Takes the notifications out of what a server sends (PostgreSQL, Message Formats: NotificationResponse), whatever their
 * channel, and hands on each other message as it came. It reads out of memory that is used again: the driver has Node make a
 * chunk of 64 KiB for each read and carry it through a stream, which was half of what an instance paid for hearing of an
 * event that nobody here waits for.
 */
export class NotificationReader {
  readonly #onPayload: (payload: string) => void
  readonly #onOther: (message: Buffer) => void
  /** The beginning of a message whose end has not come yet. */
  #rest = EMPTY

  constructor(onPayload: (payload: string) => void, onOther: (message: Buffer) => void) {
    this.#onPayload = onPayload
    this.#onOther = onOther
  }

  /** @param chunk what came next; nothing of it is kept */
  read(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let start = 0
    while (start + HEADER_BYTES <= bytes.length) {
      const end = start + 1 + bytes.readUInt32BE(start + 1)
      if (end > bytes.length) break
      if (bytes[start] === NOTIFICATION) {
        const channelEnd = bytes.indexOf(0, start + CHANNEL_AT)
        this.#onPayload(bytes.toString('utf8', channelEnd + 1, end - 1))
      } else {
        this.#onOther(Buffer.from(bytes.subarray(start, end)))
      }
      start = end
    }
    this.#rest = start === bytes.length ? EMPTY : Buffer.from(bytes.subarray(start))
  }
}
