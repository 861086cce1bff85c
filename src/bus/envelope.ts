/** Stands in no text of Postgres. */
const SEPARATOR = '\0'
/** Characters past which a message is cut in two; three bytes each would still be under the servers' usual megabyte. */
const MAX_CHARACTERS = 262_144

/** NOTIFY payloads as they travel through NATS: the history that they were heard in, then each of them. */
export interface Envelope {
  readonly epoch: string
  readonly payloads: readonly string[]
}

/** One message, or a few where the payloads are too many for one. */
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
