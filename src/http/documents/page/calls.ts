import type { JsonObject } from '../components.ts'
import { type Html, html, inline, prose, table } from './html.ts'
import { kindOf, linkToSchema, type Schema } from './schema.ts'

interface Content {
  readonly [type: string]: { readonly schema: Schema; readonly example?: string }
}

interface Response {
  readonly description: string
  readonly headers?: JsonObject
  readonly content?: Content
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly description?: string
  readonly schema: Schema
}

interface Operation {
  readonly operationId: string
  readonly summary: string
  readonly tags: readonly string[]
  readonly description?: string
  readonly security?: readonly Readonly<Record<string, unknown>>[]
  readonly parameters?: readonly { readonly $ref: string }[]
  readonly requestBody?: { readonly required: boolean; readonly content: Content }
  readonly responses: Readonly<Record<string, Response>>
}

export interface Call {
  readonly method: string
  readonly path: string
  readonly operation: Operation
  readonly parameters: readonly Parameter[]
}

/** The operations of an OpenAPI document, in its order. */
export function callsOf(document: JsonObject): Call[] {
  const { paths, components } = document as unknown as {
    readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
    readonly components: { readonly parameters: Readonly<Record<string, Parameter>> }
  }
  return Object.entries(paths).flatMap(([path, item]) => {
    const { parameters: shared = [], ...operations } = item
    return Object.entries(operations).map(([method, value]) => {
      const operation = value as Operation
      const refs = [...(shared as NonNullable<Operation['parameters']>), ...(operation.parameters ?? [])]
      const parameters = refs.flatMap(
        ({ $ref }) => components.parameters[$ref.slice($ref.lastIndexOf('/') + 1)] ?? [],
      )
      return { method: method.toUpperCase(), path, operation, parameters }
    })
  })
}

const CARRIERS: Readonly<Record<string, string>> = {
  bearer: 'Authorization: Bearer',
  query: '?token=',
  cookie: 'the cookie glimpse_token',
  ticket: '?ticket=',
}

export function callView({ method, path, operation, parameters }: Call): Html {
  const { operationId, summary, description, security = [], requestBody, responses } = operation
  const carriers = security.flatMap((one) => Object.keys(one).map((name) => CARRIERS[name] ?? name))
  const who =
    carriers.length === 0
      ? html`<p class="note">Open to everybody.</p>`
      : html`<p class="note">Needs a token: ${carriers.join(', or ')}.</p>`
  return html`<article id="${operationId}" aria-labelledby="${operationId}-name">
<h4 id="${operationId}-name"><span class="method ${method.toLowerCase()}">${method}</span> <code>${path}</code></h4>
<p>${inline(summary)}</p>${prose(description)}${who}
${parameters.length === 0 ? undefined : table(`Parameters of ${method} ${path}`, ['Parameter', 'Kind', 'Meaning'], parameters.map(parameterRow))}
${requestBody === undefined ? undefined : html`<p>Body${requestBody.required ? '' : ', which may be left out'}: ${contentView(requestBody.content)}</p>`}
<details><summary>Answers: ${Object.keys(responses).join(', ')}</summary>
${table(`Answers of ${method} ${path}`, ['Status', 'Means', 'Brings'], Object.entries(responses).map(responseRow))}
</details>${Object.values(responses).map(({ content = {} }) => Object.values(content).map(exampleView))}
</article>`
}

function parameterRow({ name, in: place, required, description, schema }: Parameter): Html[] {
  const optional = required === true ? undefined : html` <span class="note">optional</span>`
  return [
    html`<code>${name}</code>${optional}`,
    html`in the ${place}: ${kindOf(schema)}`,
    inline(description),
  ]
}

function responseRow([status, { description, headers = {}, content = {} }]: readonly [
  string,
  Response,
]): Html[] {
  const names = Object.keys(headers).map((name) => html`<br />with <code>${name}</code>`)
  return [html`${status}`, inline(description), html`${contentView(content)}${names}`]
}

function contentView(content: Content): Html {
  const kinds = Object.entries(content).map(([type, { schema }], i) => {
    const refs = [schema, ...(schema.allOf ?? [])].flatMap(({ $ref }) => $ref ?? [])
    return html`${i === 0 ? '' : html`<br />`}<code>${type}</code>${refs.map((ref) => html` ${linkToSchema(ref)}`)}`
  })
  return html`${kinds}`
}

function exampleView({ example }: Content[string]): Html | undefined {
  return example === undefined
    ? undefined
    : html`<p>Example:</p><pre tabindex="0"><code>${example.trim()}</code></pre>`
}
