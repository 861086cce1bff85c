import type { JsonObject } from '../components.ts'
import { type Html, html, inline, json, prose, table } from './html.ts'
import { type Schema, schemaView } from './schema.ts'

interface CloseFrame {
  readonly code: number
  readonly reason?: string
  readonly reconnect: boolean
  readonly description: string
}

interface Channel {
  readonly address: string
  readonly description: string
  readonly messages: Readonly<Record<string, unknown>>
  readonly 'x-close-codes'?: readonly CloseFrame[]
}

interface Message {
  readonly name: string
  readonly payload: { readonly $ref: string }
  readonly examples: readonly { readonly payload: unknown }[]
}

export interface Streams {
  readonly channels: Readonly<Record<string, Channel>>
  readonly components: {
    readonly messages: Readonly<Record<string, Message>>
    readonly schemas: Readonly<Record<string, Schema>>
  }
}

/** An AsyncAPI document as the views read it. */
export const streamsOf = (document: JsonObject): Streams => document as unknown as Streams

export function channelView(name: string, channel: Channel, { components }: Streams): Html {
  const codes = channel['x-close-codes']
  const messages = Object.keys(channel.messages).map(
    (key, i) =>
      html`${i === 0 ? '' : ', '}<a href="#message-${key}"><code>${components.messages[key]?.name}</code></a>`,
  )
  // The table has the close codes.
  const description =
    codes === undefined ? channel.description : channel.description.replace(/ Close codes:[\s\S]*/, '')
  return html`<article id="channel-${name}" aria-labelledby="channel-${name}-name">
<h3 id="channel-${name}-name"><span class="method stream">stream</span> <code>${channel.address}</code></h3>
${prose(description)}<p>Messages: ${messages}.</p>
${codes === undefined ? undefined : table('Close codes', ['Close code', 'Reason', 'Reconnect', 'Meaning'], codes.map(closeRow))}
</article>`
}

function closeRow({ code, reason, reconnect, description }: CloseFrame): Html[] {
  return [
    html`<code>${code}</code>`,
    html`${reason === undefined ? '' : html`<code>${reason}</code>`}`,
    html`${reconnect ? 'yes' : 'no'}`,
    inline(description),
  ]
}

export function messageView(key: string, message: Message, { components }: Streams): Html {
  const schema =
    components.schemas[message.payload.$ref.slice(message.payload.$ref.lastIndexOf('/') + 1)] ?? {}
  return html`<article id="message-${key}" aria-labelledby="message-${key}-name">
<h3 id="message-${key}-name"><code>${message.name}</code></h3>
${schemaView(message.name, schema)}
${message.examples.map(({ payload }) => json(payload))}
</article>`
}
