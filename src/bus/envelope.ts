/** A separator that no text of Postgres contains. */
const SEPARATOR = '\0'
/** The most characters of a message: at three bytes each it stays below the usual limit of a megabyte. */
const MAX_CHARACTERS = 262_144

/** NOTIFY payloads in a NATS message: the epoch, then each payload. */
export interface Envelope {
  readonly epoch: string
  readonly payloads: readonly string[]
}

/** One message, or several if the payloads are too long for one. */
export function seal({ epoch, payloads }: Envelope): string[] {
  const messages: string[] = []
  let message = ''
  for (const payload of payloads) {
    if (message !== '' && message.length + payload.length > MAX_CHARACTERS) {
      messages.push(message)
      message = ''
    }
    message = `${message === '' ? epoch : message}${SEPARATOR}${payload}`
  }
  if (message !== '') messages.push(message)
  return messages
}

export function unseal(message: string): Envelope {
  const [epoch = '', ...payloads] = message.split(SEPARATOR)
  return { epoch, payloads }
}
