import { type Html, html, inline, prose, table } from './html.ts'

/** The parts of JSON Schema that the documents use. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly format?: string
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly default?: unknown
}

const nameOf = (ref: string) => ref.slice(ref.lastIndexOf('/') + 1)

export const linkToSchema = (ref: string): Html =>
  html`<a href="#schema-${nameOf(ref)}"><code>${nameOf(ref)}</code></a>`

/** A schema's kind in a few words: `text (uuid)`, `1 … 1000`, a link to another schema. */
export function kindOf(schema: Schema): Html {
  if (schema.$ref !== undefined) return linkToSchema(schema.$ref)
  if (schema.const !== undefined) return html`<code>${JSON.stringify(schema.const)}</code>`
  if (schema.enum !== undefined)
    return html`one of ${list(schema.enum.map((value) => html`<code>${String(value)}</code>`))}`
  if (schema.anyOf !== undefined) return list(schema.anyOf.map(kindOf), ' or ')
  if (schema.allOf !== undefined) return list(schema.allOf.map(kindOf), ' and ')
  if (schema.type === 'array') return html`list of ${kindOf(schema.items ?? {})}`
  return html`${[schema.type ?? 'anything', schema.format, bounds(schema)].filter(Boolean).join(', ')}`
}

function list(parts: readonly Html[], between = ', '): Html {
  return html`${parts.map((part, i) => html`${i === 0 ? '' : between}${part}`)}`
}

function bounds({
  type,
  minimum,
  maximum,
  minLength,
  maxLength,
  default: usual,
}: Schema): string | undefined {
  const [least, most] = type === 'string' ? [minLength, maxLength] : [minimum, maximum]
  // Whole numbers without a bound of ours carry those of the format.
  const top = most === Number.MAX_SAFE_INTEGER ? undefined : most
  const unit = type === 'string' ? ' characters' : ''
  const range =
    least !== undefined && top !== undefined
      ? `${least} to ${top}${unit}`
      : top !== undefined
        ? `at most ${top}${unit}`
        : least !== undefined
          ? `at least ${least}${unit}`
          : undefined
  const fallback = usual === undefined ? undefined : `${String(usual)} unless given`
  return [range, fallback].filter(Boolean).join('; ') || undefined
}

/** A schema in full: what it is, and a row for each property, those of inner objects under their path. */
export function schemaView(name: string, schema: Schema): Html {
  const rows = propertyRows(schema)
  const properties =
    rows.length === 0
      ? html`<p>${kindOf(schema)}</p>`
      : table(`Properties of ${name}`, ['Property', 'Kind', 'Meaning'], rows)
  return html`${prose(schema.description)}${properties}`
}

function propertyRows(schema: Schema, path = ''): Html[][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const full = `${path}${name}`
    const optional =
      schema.required?.includes(name) === true ? undefined : html` <span class="note">optional</span>`
    const inner = [property, ...(property.anyOf ?? [])].find((one) => one.properties !== undefined)
    const kind = inner === undefined ? kindOf(property) : html`object${inner === property ? '' : ' or null'}`
    const row = [html`<code>${full}</code>${optional}`, kind, inline(property.description)]
    return inner === undefined ? [row] : [row, ...propertyRows(inner, `${full}.`)]
  })
}
